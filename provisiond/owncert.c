#include "provisiond/owncert.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/net/tls.h"
#include "common/pki/cert.h"
#include "common/pki/key.h"
#include "common/pki/keyctx.h"

#define LIFE_S ((int64_t)90 * 86400)

static enum err load(const struct config *c, EVP_PKEY **key, STACK_OF(X509) * *chain,
                     struct err_info *info)
{
    struct buf pem;
    buf_init(&pem, CERT_PEM_MAX);
    enum err e = file_read(c->tls_cert, &pem, info);
    if (e == ERR_OK && cert_chain_parse(chain, buf_span(&pem), info) != ERR_OK)
        e = err_prefix(info, ERR_INVALID, "%s: ", c->tls_cert);
    if (e == ERR_OK)
        e = key_load(key, c->tls_key, info);
    buf_clear(&pem);
    return e;
}

/* Names and addresses by which devices may reach us: those of the configuration, and where we
 * listen. */
static enum err make(const struct owncert *o, EVP_PKEY **key, STACK_OF(X509) * *chain,
                     struct err_info *info)
{
    const struct config *c = o->config;
    const char *names[CONFIG_LIST_MAX + 1 + HTTPD_SOCKETS_MAX];
    char hosts[HTTPD_SOCKETS_MAX][INET6_ADDRSTRLEN];
    size_t n = 0;
    for (size_t i = 0; i < c->n_server_names; i++)
        names[n++] = c->server_names[i];
    names[n++] = "localhost";
    for (size_t i = 0; i <= c->device.n_more; i++) {
        const struct addr *a = i == 0 ? &c->device.addr : &c->device.more[i - 1];
        const struct sockaddr *sa = (const struct sockaddr *)&a->ss;
        if (inet_ntop(sa->sa_family, addr_ip(sa).p, hosts[i], sizeof hosts[i]) != NULL)
            names[n++] = hosts[i];
    }
    struct localca_leaf leaf = {
        .names = names, .n_names = n, .now_s = clock_now_s(), .life_s = LIFE_S
    };
    return localca_server_cert(o->ca, &leaf, key, chain, info);
}

enum err owncert_make(struct owncert *o, SSL_CTX **device, SSL_CTX **public_ctx,
                      struct err_info *info)
{
    EVP_PKEY *key = NULL;
    STACK_OF(X509) *chain = NULL;
    SSL_CTX *ctx = NULL;
    int64_t from_s = 0, to_s = 0;
    enum err e = o->config->tls_cert != NULL ? load(o->config, &key, &chain, info)
                                             : make(o, &key, &chain, info);
    if (e == ERR_OK && cert_validity(sk_X509_value(chain, 0), &from_s, &to_s) != ERR_OK)
        e = err_set(info, ERR_INVALID, "the dates of the certificate cannot be read");
    if (e == ERR_OK)
        e = tls_server_new(&ctx, keyctx_get(), key, chain, TLS_PEER_ANY_KEY, "http/1.1", info);
    if (e == ERR_OK)
        e = tls_server_new(public_ctx, NULL, key, chain, TLS_PEER_ANONYMOUS, "http/1.1", info);
    if (e == ERR_OK) {
        o->not_before_s = from_s;
        o->not_after_s = to_s;
        *device = ctx; /* handed over: the clean-up below now sees NULL */
        ctx = NULL;
    } else if (o->config->tls_cert != NULL) {
        e = err_prefix(info, e, "%s: tls_cert and tls_key: ", o->config->tls_where);
    }
    SSL_CTX_free(ctx);
    EVP_PKEY_free(key);
    sk_X509_pop_free(chain, X509_free);
    return e;
}
