#include "agent/servedcheck.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/pki/cert.h"

#define DEADLINE_S 10 /* for connection and handshake */
#define EVERY_MS (INT64_C(6) * 3600 * 1000)

/* Between looks while the old certificate is still there, in milliseconds. */
static const int64_t PATIENCE_MS[] = { 2000, 3000, 5000, 10000 };

struct servedcheck {
    struct loop *loop;
    struct addr address;
    char address_text[ADDR_TEXT_MAX];
    char *name;
    SSL_CTX *tls;
    X509 *leaf; /* expected; NULL: nothing yet */
    struct bufferevent *bev;
    struct loop_timer *timer;
    size_t looks; /* since the expectation */
    struct served_result result;
};

static const char *const NAMES[] = {
    [SERVED_PENDING] = "pending",
    [SERVED_CURRENT] = "current",
    [SERVED_OTHER] = "other",
    [SERVED_UNREACHABLE] = "unreachable",
};

const char *served_name(enum served s)
{
    return NAMES[s];
}

static void report(const struct servedcheck *s)
{
    if (s->result.what == SERVED_CURRENT)
        log_info("%s", s->result.text);
    else
        log_error("%s", s->result.text);
}

/* One look has ended. What lasts is the result; what may pass is looked at again. */
static void settle(struct servedcheck *s, enum served what)
{
    bool last = s->looks >= sizeof PATIENCE_MS / sizeof PATIENCE_MS[0];
    if (s->bev != NULL)
        bufferevent_free(s->bev);
    s->bev = NULL;
    s->result.at = clock_now_s();
    if (what != SERVED_CURRENT && !last) {
        loop_timer_set(s->timer, PATIENCE_MS[s->looks++]);
        return;
    }
    s->looks = sizeof PATIENCE_MS / sizeof PATIENCE_MS[0];
    loop_timer_set(s->timer, EVERY_MS);
    bool changed = s->result.what != what;
    s->result.what = what;
    if (changed)
        report(s);
}

static void say(struct servedcheck *s, const char *what)
{
    (void)snprintf(s->result.text, sizeof s->result.text, "the application at %s %s",
                   s->address_text, what);
}

static void compare(struct servedcheck *s)
{
    X509 *got = SSL_get1_peer_certificate(bufferevent_openssl_get_ssl(s->bev));
    bool same = got != NULL && X509_cmp(got, s->leaf) == 0;
    if (got == NULL || cert_serial_hex(got, s->result.serial, sizeof s->result.serial) != ERR_OK)
        s->result.serial[0] = 0;
    X509_free(got);
    if (same)
        say(s, "serves the present certificate");
    else
        say(s, "serves another certificate: does it read the new files after the reload command?");
    settle(s, same ? SERVED_CURRENT : SERVED_OTHER);
}

static void fail(struct servedcheck *s, short what)
{
    s->result.serial[0] = 0;
    if ((what & BEV_EVENT_TIMEOUT) != 0)
        say(s, "does not answer");
    else if (BIO_number_written(SSL_get_wbio(bufferevent_openssl_get_ssl(s->bev))) == 0)
        say(s, "cannot be reached: is it running?");
    else
        say(s, "does not speak TLS");
    ERR_clear_error();
    settle(s, SERVED_UNREACHABLE);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    (void)bev;
    if ((what & BEV_EVENT_CONNECTED) != 0)
        compare(arg);
    else
        fail(arg, what);
}

static void look(void *arg)
{
    struct servedcheck *s = arg;
    if (s->leaf == NULL || s->bev != NULL)
        return;
    SSL *ssl = SSL_new(s->tls);
    if (ssl == NULL || SSL_set_tlsext_host_name(ssl, s->name) != 1) {
        SSL_free(ssl);
        loop_timer_set(s->timer, EVERY_MS);
        return;
    }
    s->bev = bufferevent_openssl_socket_new(loop_base(s->loop), -1, ssl, BUFFEREVENT_SSL_CONNECTING,
                                            BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
    if (s->bev == NULL) {
        SSL_free(ssl);
        loop_timer_set(s->timer, EVERY_MS);
        return;
    }
    static const struct timeval LIMIT = { .tv_sec = DEADLINE_S };
    bufferevent_setcb(s->bev, NULL, NULL, on_event, s);
    (void)bufferevent_set_timeouts(s->bev, &LIMIT, &LIMIT);
    (void)bufferevent_enable(s->bev, EV_READ | EV_WRITE);
    if (bufferevent_socket_connect(s->bev, (struct sockaddr *)&s->address.ss,
                                   (int)s->address.len) != 0)
        fail(s, BEV_EVENT_ERROR);
}

enum err servedcheck_new(struct servedcheck **out, struct loop *l, const struct addr *address,
                         const char *name)
{
    struct servedcheck *s = calloc(1, sizeof *s);
    if (s == NULL)
        return ERR_NOMEM;
    s->loop = l;
    s->address = *address;
    addr_format(address, s->address_text);
    s->name = strdup(name);
    s->tls = SSL_CTX_new(TLS_client_method());
    if (s->name == NULL || s->tls == NULL ||
        SSL_CTX_set_min_proto_version(s->tls, TLS1_2_VERSION) != 1 ||
        loop_timer_new(&s->timer, l, look, s) != ERR_OK) {
        servedcheck_free(s);
        return ERR_NOMEM;
    }
    say(s, "was not asked yet");
    *out = s;
    return ERR_OK;
}

void servedcheck_expect(struct servedcheck *s, X509 *leaf)
{
    if (X509_up_ref(leaf) != 1)
        return;
    X509_free(s->leaf);
    s->leaf = leaf;
    s->looks = 0;
    s->result.what = SERVED_PENDING;
    say(s, "is being asked for its certificate");
    loop_timer_set(s->timer, 0);
}

const struct served_result *servedcheck_result(const struct servedcheck *s)
{
    return &s->result;
}

void servedcheck_free(struct servedcheck *s)
{
    if (s == NULL)
        return;
    if (s->bev != NULL)
        bufferevent_free(s->bev);
    loop_timer_free(s->timer);
    SSL_CTX_free(s->tls);
    X509_free(s->leaf);
    free(s->name);
    free(s);
}
