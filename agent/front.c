#include "agent/front.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/core/issued.h"
#include "agent/timekeeper.h"
#include "common/base/clock.h"
#include "common/net/tls.h"

#define SESSIONS_MAX 256 /* kept for resumption: a household, not a web site */

struct front {
    char *suffix; /* ".<id>.<zone>" */
    bool refuse_foreign;
    SSL_CTX *public; /* NULL: none yet */
    int64_t not_after_s;
    int64_t over_ms; /* since the boot: its life is over, whatever clocks say */
    const struct truetime *time;
    SSL_CTX *local; /* what connections begin with */
    struct front_counters n;
};

static bool ends_with(const char *text, const char *suffix)
{
    size_t n = strlen(text), k = strlen(suffix);
    return n >= k && strcasecmp(text + n - k, suffix) == 0;
}

/* One label before the suffix, as the wildcard says, or the bare name. */
static bool is_ours(const struct front *f, const char *name)
{
    size_t n = strlen(name), k = strlen(f->suffix);
    if (strcasecmp(name, f->suffix + 1) == 0)
        return true;
    return n > k && ends_with(name, f->suffix) && memchr(name, '.', n - k) == NULL;
}

static bool is_local(const char *name)
{
    return strcasecmp(name, "localhost") == 0 || ends_with(name, ".local");
}

/* A clock that lost its time says nothing about the end of a certificate, but it cannot last longer
 * than its life from the moment on when it was here. */
static bool is_usable(const struct front *f)
{
    int64_t now_s = timekeeper_now_s(f->time);
    return f->public != NULL && clock_boot_ms() < f->over_ms &&
           (now_s < f->not_after_s || now_s < ISSUED_CLOCK_FLOOR_S);
}

/* Called in each handshake, with or without a name. [RFC 6066 s3] */
static int choose(SSL *ssl, int *alert, void *arg)
{
    struct front *f = arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    bool ours = name != NULL && is_ours(f, name);
    if (ours && is_usable(f)) {
        if (SSL_set_SSL_CTX(ssl, f->public) != NULL)
            return SSL_TLSEXT_ERR_OK;
        *alert = SSL_AD_INTERNAL_ERROR;
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    if (f->refuse_foreign && name != NULL && !ours && !is_local(name)) {
        f->n.foreign++;
        *alert = SSL_AD_UNRECOGNIZED_NAME;
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    f->n.local++;
    return SSL_TLSEXT_ERR_OK;
}

void front_set_alpn(SSL *ssl, const struct alpn *alpn)
{
    (void)SSL_set_app_data(ssl, (void *)(uintptr_t)alpn); /* only read: OpenSSL lacks the const */
}

/* What is agreed on is what the backend will get: nothing is translated. A client that offers
 * nothing of it is told so. [RFC 7301 s3.2] */
static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                       const unsigned char *in, unsigned in_len, void *arg)
{
    const struct alpn *ours = SSL_get_app_data(ssl);
    unsigned char *chosen;
    (void)arg;
    if (ours == NULL)
        ours = &ALPN_HTTP1;
    if (ours->len == 0)
        return SSL_TLSEXT_ERR_NOACK;
    if (SSL_select_next_proto(&chosen, out_len, ours->list, ours->len, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static enum err new_context(SSL_CTX **out, EVP_PKEY *key, STACK_OF(X509) * chain,
                            struct err_info *info)
{
    enum err e = tls_server_new(out, NULL, key, chain, TLS_PEER_ANONYMOUS, NULL, info);
    if (e == ERR_OK)
        SSL_CTX_set_alpn_select_cb(*out, choose_alpn, NULL);
    return e;
}

enum err front_new(struct front **out, const char *name, bool refuse_foreign,
                   const struct truetime *time)
{
    struct front *f = calloc(1, sizeof *f);
    if (f == NULL)
        return ERR_NOMEM;
    f->suffix = strdup(name[0] == '*' ? name + 1 : name);
    f->refuse_foreign = refuse_foreign;
    f->time = time;
    if (f->suffix == NULL) {
        free(f);
        return ERR_NOMEM;
    }
    *out = f;
    return ERR_OK;
}

enum err front_set_public(struct front *f, EVP_PKEY *key, STACK_OF(X509) * chain,
                          int64_t not_before_s, int64_t not_after_s, struct err_info *info)
{
    SSL_CTX *tls = NULL;
    enum err e = new_context(&tls, key, chain, info);
    if (e != ERR_OK)
        return e;
    SSL_CTX_free(f->public);
    f->public = tls;
    f->not_after_s = not_after_s;
    f->over_ms = clock_boot_ms() + (not_after_s - not_before_s) * 1000;
    return ERR_OK;
}

enum err front_set_local(struct front *f, EVP_PKEY *key, X509 *cert, struct err_info *info)
{
    SSL_CTX *tls = NULL;
    STACK_OF(X509) *chain = sk_X509_new_null();
    enum err e = ERR_NOMEM;
    if (chain == NULL || sk_X509_push(chain, cert) <= 0)
        (void)err_set(info, e, "out of memory");
    else
        e = new_context(&tls, key, chain, info);
    sk_X509_free(chain);
    if (e != ERR_OK)
        return e;
    /* the context a connection begins with is the one that keeps its session */
    (void)SSL_CTX_sess_set_cache_size(tls, SESSIONS_MAX);
    (void)SSL_CTX_set_tlsext_servername_callback(tls, choose);
    (void)SSL_CTX_set_tlsext_servername_arg(tls, f);
    SSL_CTX_free(f->local);
    f->local = tls;
    return ERR_OK;
}

SSL_CTX *front_tls(const struct front *f)
{
    return f->local;
}

struct front_counters front_counters(const struct front *f)
{
    return f->n;
}

void front_free(struct front *f)
{
    if (f == NULL)
        return;
    SSL_CTX_free(f->public);
    SSL_CTX_free(f->local);
    free(f->suffix);
    free(f);
}
