#include "agent/tlslook.h"

#include <stdio.h>
#include <stdlib.h>

#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <openssl/err.h>

struct tlslook {
    struct bufferevent *bev;
    void (*fn)(void *arg, enum tlslook_end end, X509 *leaf);
    void *arg;
};

static enum tlslook_end why_not(struct tlslook *t, short what)
{
    if ((what & BEV_EVENT_TIMEOUT) != 0)
        return TLSLOOK_SILENT;
    /* no byte of ours went out: there was nobody to talk to */
    if (BIO_number_written(SSL_get_wbio(bufferevent_openssl_get_ssl(t->bev))) == 0)
        return TLSLOOK_REFUSED;
    return TLSLOOK_NO_TLS;
}

static void look_end(struct tlslook *t, short what)
{
    enum tlslook_end end = TLSLOOK_SEEN;
    X509 *leaf = NULL;
    if ((what & BEV_EVENT_CONNECTED) != 0)
        leaf = SSL_get1_peer_certificate(bufferevent_openssl_get_ssl(t->bev));
    else
        end = why_not(t, what);
    if (end == TLSLOOK_SEEN && leaf == NULL)
        end = TLSLOOK_NO_TLS;
    ERR_clear_error();
    bufferevent_free(t->bev);
    t->bev = NULL;
    t->fn(t->arg, end, leaf); /* *t may be gone */
    X509_free(leaf);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    (void)bev;
    look_end(arg, what);
}

enum err tlslook_new(struct tlslook **out, struct loop *l, SSL_CTX *tls, const struct addr *address,
                     const char *name, void (*fn)(void *arg, enum tlslook_end end, X509 *leaf),
                     void *arg)
{
    static const struct timeval LIMIT = { .tv_sec = TLSLOOK_DEADLINE_S };
    char host[256]; /* OpenSSL's macro casts const away */
    struct sockaddr_storage ss = address->ss;
    struct tlslook *t = calloc(1, sizeof *t);
    SSL *ssl = SSL_new(tls);
    enum err e = ERR_NOMEM;
    (void)snprintf(host, sizeof host, "%s", name);
    if (t == NULL || ssl == NULL || SSL_set_tlsext_host_name(ssl, host) != 1)
        goto out;
    t->fn = fn;
    t->arg = arg;
    t->bev = bufferevent_openssl_socket_new(loop_base(l), -1, ssl, BUFFEREVENT_SSL_CONNECTING,
                                            BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
    if (t->bev == NULL)
        goto out;
    ssl = NULL; /* the bufferevent's */
    bufferevent_setcb(t->bev, NULL, NULL, on_event, t);
    (void)bufferevent_set_timeouts(t->bev, &LIMIT, &LIMIT);
    (void)bufferevent_enable(t->bev, EV_READ | EV_WRITE);
    if (bufferevent_socket_connect(t->bev, (struct sockaddr *)&ss, (int)address->len) != 0)
        bufferevent_trigger_event(t->bev, BEV_EVENT_ERROR, BEV_TRIG_DEFER_CALLBACKS);
    *out = t;
    t = NULL;
    e = ERR_OK;
out:
    SSL_free(ssl);
    tlslook_free(t);
    return e;
}

void tlslook_free(struct tlslook *t)
{
    if (t == NULL)
        return;
    if (t->bev != NULL)
        bufferevent_free(t->bev);
    free(t);
}
