#include "agent/servicelook.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "agent/api.h"
#include "common/net/fetch.h"
#include "common/net/loop.h"
#include "common/pki/cert.h"

#define ASK_MS 15000
#define CONNECT_MS 5000
#define STEP_S 5 /* of the handshake */
#define HTTPS_PORT "443"

struct look {
    struct loop *loop;
    struct fetch *pool;
    struct servicelook *seen;
    int fd;
};

/* ---- the dates of its certificate ------------------------------------------------------------ */

struct end {
    char text[512]; /* "host:port" */
    char host[512]; /* without the brackets of an IPv6 address */
};

/* From "https://HOST" or "https://HOST:PORT". */
static void find_end(struct end *out, const char *server)
{
    const char *at = strstr(server, "://") + 3, *bracket = strchr(at, ']');
    const char *colon = strrchr(bracket != NULL ? bracket : at, ':');
    size_t len = colon != NULL ? (size_t)(colon - at) : strlen(at);
    bool literal = len > 2 && at[0] == '[';
    (void)snprintf(out->text, sizeof out->text, "%s%s", at, colon != NULL ? "" : ":" HTTPS_PORT);
    (void)snprintf(out->host, sizeof out->host, "%.*s", (int)(literal ? len - 2 : len),
                   literal ? at + 1 : at);
}

static bool expect(SSL *ssl, const char *host)
{
    unsigned char ip[16];
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    (void)X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_NO_CHECK_TIME);
    if (inet_pton(AF_INET, host, ip) == 1 || inet_pton(AF_INET6, host, ip) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1;
    char name[512]; /* OpenSSL's macro casts const away */
    (void)snprintf(name, sizeof name, "%s", host);
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}

/* Who it is must be proven as ever; only the dates may be wrong. */
static void read_dates(struct servicelook *seen, int fd, const struct config *c, const char *host)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
    SSL *ssl = NULL;
    if (tls == NULL ||
        (c->server_ca != NULL ? SSL_CTX_load_verify_locations(tls, c->server_ca, NULL)
                              : SSL_CTX_set_default_verify_paths(tls)) != 1)
        goto out;
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    ssl = SSL_new(tls);
    if (ssl == NULL || !expect(ssl, host) || SSL_set_fd(ssl, fd) != 1 || SSL_connect(ssl) != 1)
        goto out;
    int64_t from_s, to_s;
    if (cert_validity(SSL_get0_peer_certificate(ssl), &from_s, &to_s) == ERR_OK) {
        seen->from_s = from_s;
        seen->to_s = to_s;
    }
out:
    ERR_clear_error();
    SSL_free(ssl);
    SSL_CTX_free(tls);
}

static void on_connected(void *arg, const struct fetch_result *res)
{
    struct look *l = arg;
    l->fd = res->e == ERR_OK ? res->fd : -1;
    loop_stop(l->loop);
}

static void look_at_dates(struct look *l, const struct config *c)
{
    const struct timeval limit = { .tv_sec = STEP_S };
    struct end end;
    find_end(&end, c->server);
    if (fetch_connect(l->pool, end.text, CONNECT_MS, on_connected, l, NULL) != ERR_OK)
        return;
    loop_run(l->loop);
    if (l->fd < 0)
        return;
    if (fcntl(l->fd, F_SETFL, 0) == 0 &&
        setsockopt(l->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0 &&
        setsockopt(l->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) == 0)
        read_dates(l->seen, l->fd, c, end.host);
    close(l->fd);
}

/* ---- its answer ------------------------------------------------------------------------------ */

static void on_answer(void *arg, const struct fetch_result *res)
{
    struct look *l = arg;
    l->seen->e = res->e;
    l->seen->info = res->info;
    l->seen->status = res->status;
    l->seen->date_s = res->e == ERR_OK ? fetch_date(res) : 0;
    loop_stop(l->loop);
}

enum err servicelook_run(struct servicelook *out, const struct config *c, const struct identity *id,
                         struct err_info *info)
{
    char url[600];
    struct look l = { .seen = out, .fd = -1 };
    *out = (struct servicelook){ 0 };
    (void)snprintf(url, sizeof url, "%s/v1/certificate", c->server);
    struct fetch_request r = {
        .method = "GET", .url = url, .body_max = 64 * 1024, .timeout_ms = ASK_MS
    };
    enum err e = loop_new(&l.loop);
    if (e == ERR_OK)
        e = api_pool_new(&l.pool, l.loop, c->server_ca, id, NULL, info);
    if (e == ERR_OK)
        e = fetch_start(l.pool, &r, on_answer, &l, NULL);
    if (e == ERR_OK)
        loop_run(l.loop);
    if (e == ERR_OK && out->e == ERR_CRYPTO)
        look_at_dates(&l, c);
    fetch_free(l.pool);
    loop_free(l.loop);
    return e;
}
