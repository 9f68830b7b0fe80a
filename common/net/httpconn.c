#include "common/net/httpconn.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <openssl/err.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/net/httpmsg.h"
#include "common/net/httpresp.h"

#define READ_AHEAD_MAX (16 * 1024) /* bytes kept of what a client sends before its turn */
#define PIECE_MAX 4096             /* bytes fed to the reader at a time */
#define HEADERS_MAX (16 * 1024)    /* bytes of the response headers that a handler adds */
#define RESPONSE_OVERHEAD 1024     /* bytes of our own headers */
#define LINGER_MS 2000
#define LINGER_BYTES_MAX (1024 * 1024)

enum state {
    STATE_HANDSHAKE, /* TLS */
    STATE_IDLE,      /* no byte of a request yet */
    STATE_READING,
    STATE_HANDLING, /* the handler owes a response */
    STATE_WRITING,
    STATE_LINGER, /* all said; reading until the client has closed, so that no reset overtakes the
                     response [RFC 9112 s9.6] */
    STATE_DEAD,   /* freed when its timer fires */
};

/* The handler's view of a connection, between a complete request and its response. */
struct httpd_req {
    struct httpconn *conn;
    void (*on_gone)(void *arg);
    void *on_gone_arg;
    struct buf headers; /* lines for the response */
};

struct httpconn {
    const struct httpconn_env *env;
    struct bufferevent *bev;
    struct loop_timer *timer; /* the deadline of the state */
    SSL *ssl;                 /* NULL for plain HTTP; the bufferevent's */
    struct addr peer;
    void (*closed)(void *arg);
    void *closed_arg;
    enum state state;
    struct httpmsg *msg;
    bool close_after, half_closed, paused;
    size_t lingered; /* bytes thrown away */
    struct httpd_req req;
};

static void set_state(struct httpconn *c, enum state s, int64_t deadline_ms)
{
    c->state = s;
    loop_timer_set(c->timer, deadline_ms);
}

/* Ends the connection from the loop, when no caller of ours is on the stack any more. */
static void die(struct httpconn *c)
{
    set_state(c, STATE_DEAD, 0);
}

static void forget_request(struct httpconn *c)
{
    buf_clear(&c->req.headers);
    c->req.on_gone = NULL;
}

/* Tells the handler that its request is dead. It may not respond any more. */
static void tell_gone(struct httpconn *c)
{
    void (*fn)(void *arg) = c->req.on_gone;
    c->req.on_gone = NULL;
    c->state = STATE_DEAD;
    if (fn != NULL)
        fn(c->req.on_gone_arg);
    forget_request(c);
}

static void lose_client(struct httpconn *c)
{
    if (c->state == STATE_HANDLING)
        tell_gone(c);
    die(c);
}

/* --- writing ------------------------------------------------------------------------------- */

static void send_response(struct httpconn *c, struct httpresp *r)
{
    struct buf out;
    buf_init(&out, r->body.len + HEADERS_MAX + RESPONSE_OVERHEAD);
    if (c->env->draining)
        c->close_after = true;
    r->keep_alive = !c->close_after;
    r->now_s = clock_now_s();
    httpresp_write(&out, r);
    bool ok = buf_error(&out) == ERR_OK && bufferevent_write(c->bev, out.p, out.len) == 0;
    buf_clear(&out);
    if (ok)
        set_state(c, STATE_WRITING, c->env->limits.write_ms);
    else
        die(c);
}

/* A response of our own, after which the connection is closed. */
static void send_problem(struct httpconn *c, int status, const char *detail)
{
    struct buf body;
    buf_init(&body, 1024);
    httpresp_problem(&body, status, NULL, detail);
    c->close_after = true;
    struct httpresp r = { .status = status,
                          .content_type = "application/problem+json",
                          .headers = "",
                          .body = buf_span(&body) };
    if (buf_error(&body) == ERR_OK)
        send_response(c, &r);
    else
        die(c);
    buf_clear(&body);
}

static void pause_reading(struct httpconn *c, bool on)
{
    if (on && !c->paused)
        (void)bufferevent_disable(c->bev, EV_READ);
    if (!on && c->paused)
        (void)bufferevent_enable(c->bev, EV_READ);
    c->paused = on;
}

static void start_linger(struct httpconn *c)
{
    if (c->half_closed) {
        die(c);
        return;
    }
    set_state(c, STATE_LINGER, LINGER_MS);
    if (c->ssl != NULL) {
        (void)SSL_shutdown(c->ssl); /* close_notify; the answer to it is not waited for */
        ERR_clear_error();
    }
    (void)shutdown(bufferevent_getfd(c->bev), SHUT_WR);
    pause_reading(c, false);
    (void)evbuffer_drain(bufferevent_get_input(c->bev), SIZE_MAX);
}

/* --- reading ------------------------------------------------------------------------------- */

static void handle_request(struct httpconn *c)
{
    metric_add(&c->env->counts->requests, 1);
    set_state(c, STATE_HANDLING, c->env->limits.handler_ms);
    c->close_after = !httpmsg_is_keep_alive(c->msg);
    buf_init(&c->req.headers, HEADERS_MAX);
    c->env->fn(c->env->arg, &c->req); /* may respond at once */
}

static void send_continue(struct httpconn *c)
{
    static const char LINE[] = "HTTP/1.1 100 Continue\r\n\r\n";
    if (bufferevent_write(c->bev, LINE, sizeof LINE - 1) != 0)
        die(c);
}

/* Feeds what has come to the reader, one request at a time. */
static void read_request(struct httpconn *c)
{
    struct evbuffer *in = bufferevent_get_input(c->bev);
    bool waited = httpmsg_wants_continue(c->msg);
    enum httpmsg_state s = HTTPMSG_MORE;
    size_t len;
    while (s == HTTPMSG_MORE && (len = evbuffer_get_length(in)) > 0) {
        size_t used, n = len < PIECE_MAX ? len : PIECE_MAX;
        const uint8_t *p = evbuffer_pullup(in, (ev_ssize_t)n);
        if (p == NULL) {
            die(c);
            return;
        }
        if (c->state == STATE_IDLE)
            set_state(c, STATE_READING, c->env->limits.request_ms);
        s = httpmsg_feed(c->msg, (struct span){ p, n }, &used);
        (void)evbuffer_drain(in, used);
    }
    if (s == HTTPMSG_REFUSED) {
        metric_add(&c->env->counts->malformed, 1);
        send_problem(c, httpmsg_status(c->msg), httpmsg_why(c->msg));
    } else if (s == HTTPMSG_DONE) {
        handle_request(c);
    } else if (!waited && httpmsg_wants_continue(c->msg)) {
        send_continue(c);
    }
}

static void end_handshake(struct httpconn *c)
{
    metric_add(&c->env->counts->handshakes, 1);
    set_state(c, STATE_IDLE, c->env->limits.idle_ms);
}

static void httpconn_on_read(struct httpconn *c)
{
    struct evbuffer *in = bufferevent_get_input(c->bev);
    switch (c->state) {
    case STATE_HANDSHAKE:
    case STATE_IDLE:
    case STATE_READING:
        if (c->state == STATE_HANDSHAKE)
            end_handshake(c);
        read_request(c);
        break;
    case STATE_LINGER:
        c->lingered += evbuffer_get_length(in);
        (void)evbuffer_drain(in, SIZE_MAX);
        if (c->lingered > LINGER_BYTES_MAX)
            die(c);
        break;
    case STATE_HANDLING: /* the next request waits in the buffer, which is bounded: not by a
                            watermark, because libevent 2.1.12 forgets what OpenSSL has already
                            decrypted when it goes below one */
    case STATE_WRITING:
        if (evbuffer_get_length(in) > READ_AHEAD_MAX)
            pause_reading(c, true);
        break;
    case STATE_DEAD:
        break;
    }
}

/* The whole response has left for the kernel. */
static void httpconn_on_written(struct httpconn *c)
{
    if (c->state != STATE_WRITING || evbuffer_get_length(bufferevent_get_output(c->bev)) > 0)
        return;
    if (c->close_after || c->env->draining) {
        start_linger(c);
        return;
    }
    httpmsg_reset(c->msg);
    set_state(c, STATE_IDLE, c->env->limits.idle_ms);
    pause_reading(c, false);
    read_request(c);
    if (c->half_closed && (c->state == STATE_IDLE || c->state == STATE_READING))
        die(c);
}

static void httpconn_on_event(struct httpconn *c, short what)
{
    if ((what & BEV_EVENT_CONNECTED) != 0) {
        if (c->state == STATE_HANDSHAKE)
            end_handshake(c);
        return;
    }
    ERR_clear_error();
    if (c->state == STATE_HANDSHAKE)
        metric_add(&c->env->counts->handshakes_failed, 1);
    /* a client that closed its half after the request still gets the response to it, as long as it
     * was ready when the close was seen; nothing is written to TLS after its end */
    if (c->state == STATE_WRITING && (what & BEV_EVENT_EOF) != 0 && c->ssl == NULL)
        c->half_closed = true;
    else
        lose_client(c);
}

static void httpconn_on_deadline(struct httpconn *c)
{
    switch (c->state) {
    case STATE_READING:
        metric_add(&c->env->counts->malformed, 1);
        send_problem(c, 408, "the request took too long");
        return;
    case STATE_HANDLING:
        tell_gone(c);
        send_problem(c, 503, "the answer took too long");
        return;
    case STATE_HANDSHAKE:
        metric_add(&c->env->counts->handshakes_failed, 1);
        break;
    case STATE_IDLE:
    case STATE_WRITING:
    case STATE_LINGER:
    case STATE_DEAD:
        break;
    }
    void (*closed)(void *arg) = c->closed;
    void *arg = c->closed_arg;
    httpconn_free(c);
    closed(arg);
}

static void on_read(struct bufferevent *bev, void *arg)
{
    (void)bev;
    httpconn_on_read(arg);
}

static void on_written(struct bufferevent *bev, void *arg)
{
    (void)bev;
    httpconn_on_written(arg);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    (void)bev;
    httpconn_on_event(arg, what);
}

static void on_deadline(void *arg)
{
    httpconn_on_deadline(arg);
}

/* --- life ---------------------------------------------------------------------------------- */

static enum err open_bev(struct httpconn *c, int fd, SSL_CTX *tls)
{
    struct event_base *base = loop_base(c->env->loop);
    int options = BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS;
    if (tls == NULL) {
        c->bev = bufferevent_socket_new(base, fd, options);
    } else {
        SSL *ssl = SSL_new(tls);
        if (ssl != NULL)
            c->bev =
                bufferevent_openssl_socket_new(base, fd, ssl, BUFFEREVENT_SSL_ACCEPTING, options);
        if (c->bev == NULL)
            SSL_free(ssl);
        else
            c->ssl = ssl;
    }
    if (c->bev == NULL) {
        ERR_clear_error();
        evutil_closesocket(fd);
        return ERR_NOMEM;
    }
    if (c->ssl != NULL)
        bufferevent_openssl_set_allow_dirty_shutdown(c->bev, 1); /* lengths end requests, not EOF */
    return ERR_OK;
}

enum err httpconn_new(struct httpconn **out, const struct httpconn_env *env, int fd, SSL_CTX *tls,
                      const struct addr *peer, void (*closed)(void *arg), void *closed_arg)
{
    struct httpconn *c = calloc(1, sizeof *c);
    if (c == NULL) {
        evutil_closesocket(fd);
        return ERR_NOMEM;
    }
    *c = (struct httpconn){
        .env = env, .peer = *peer, .closed = closed, .closed_arg = closed_arg, .req.conn = c
    };
    enum err e = open_bev(c, fd, tls);
    if (e == ERR_OK)
        e = loop_timer_new(&c->timer, env->loop, on_deadline, c);
    if (e == ERR_OK)
        e = httpmsg_new(&c->msg, env->limits.head_max, env->limits.body_max);
    if (e != ERR_OK) {
        httpconn_free(c);
        return e;
    }
    bufferevent_setcb(c->bev, on_read, on_written, on_event, c);
    (void)bufferevent_enable(c->bev, EV_READ | EV_WRITE);
    if (c->ssl != NULL)
        set_state(c, STATE_HANDSHAKE,
                  env->limits.request_ms < env->limits.idle_ms ? env->limits.request_ms
                                                               : env->limits.idle_ms);
    else
        set_state(c, STATE_IDLE, env->limits.idle_ms);
    *out = c;
    return ERR_OK;
}

void httpconn_free(struct httpconn *c)
{
    if (c == NULL)
        return;
    if (c->state == STATE_HANDLING)
        tell_gone(c);
    forget_request(c);
    loop_timer_free(c->timer);
    if (c->ssl != NULL) /* OpenSSL would not resume the session of a connection that just ended */
        SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    if (c->bev != NULL)
        bufferevent_free(c->bev);
    httpmsg_free(c->msg);
    free(c);
}

void httpconn_drain(struct httpconn *c)
{
    if (c->state == STATE_HANDSHAKE || c->state == STATE_IDLE)
        die(c);
}

/* --- the handler's side -------------------------------------------------------------------- */

const char *httpd_method(const struct httpd_req *r)
{
    return httpmsg_method(r->conn->msg);
}

const char *httpd_path(const struct httpd_req *r)
{
    return httpmsg_path(r->conn->msg);
}

const char *httpd_query(const struct httpd_req *r)
{
    return httpmsg_query(r->conn->msg);
}

struct span httpd_body(const struct httpd_req *r)
{
    return httpmsg_body(r->conn->msg);
}

const char *httpd_header(const struct httpd_req *r, const char *name)
{
    return httpmsg_header(r->conn->msg, name);
}

const struct addr *httpd_peer(const struct httpd_req *r)
{
    return &r->conn->peer;
}

EVP_PKEY *httpd_peer_key(const struct httpd_req *r)
{
    X509 *cert = r->conn->ssl != NULL ? SSL_get0_peer_certificate(r->conn->ssl) : NULL;
    return cert != NULL ? X509_get0_pubkey(cert) : NULL;
}

X509_PUBKEY *httpd_peer_pubkey(const struct httpd_req *r)
{
    X509 *cert = r->conn->ssl != NULL ? SSL_get0_peer_certificate(r->conn->ssl) : NULL;
    return cert != NULL ? X509_get_X509_PUBKEY(cert) : NULL;
}

STACK_OF(X509) * httpd_peer_chain(const struct httpd_req *r)
{
    X509 *cert = r->conn->ssl != NULL ? SSL_get1_peer_certificate(r->conn->ssl) : NULL;
    if (cert == NULL)
        return NULL;
    STACK_OF(X509) *above = SSL_get_peer_cert_chain(r->conn->ssl); /* without the client's own */
    STACK_OF(X509) *chain = above != NULL ? X509_chain_up_ref(above) : sk_X509_new_null();
    if (chain == NULL || sk_X509_unshift(chain, cert) <= 0) {
        X509_free(cert);
        sk_X509_pop_free(chain, X509_free);
        return NULL;
    }
    return chain;
}

bool httpd_query_get(const struct httpd_req *r, const char *key, char *out, size_t cap)
{
    size_t key_len = strlen(key);
    for (const char *p = httpd_query(r); *p != 0; p += *p == '&') {
        size_t len = strcspn(p, "&");
        if (len > key_len && p[key_len] == '=' && memcmp(p, key, key_len) == 0) {
            const char *value = p + key_len + 1;
            size_t n = len - key_len - 1;
            if (n >= cap || strcspn(value, "%+&") < n)
                return false;
            memcpy(out, value, n);
            out[n] = 0;
            return true;
        }
        p += len;
    }
    return false;
}

void httpd_on_gone(struct httpd_req *r, void (*fn)(void *arg), void *arg)
{
    r->on_gone = fn;
    r->on_gone_arg = arg;
}

void httpd_add_header(struct httpd_req *r, const char *name, const char *value)
{
    httpresp_add_header(&r->headers, name, value);
}

void httpd_respond(struct httpd_req *r, int status, const char *content_type, struct span body)
{
    struct httpconn *c = r->conn;
    if (c->state != STATE_HANDLING)
        return;
    if (buf_error(&r->headers) != ERR_OK) {
        forget_request(c);
        send_problem(c, 500, NULL);
        return;
    }
    struct httpresp resp = { .status = status,
                             .content_type = content_type,
                             .headers = buf_str(&r->headers),
                             .body = body,
                             .head_only = strcmp(httpd_method(r), "HEAD") == 0 };
    send_response(c, &resp);
    forget_request(c);
}

void httpd_problem(struct httpd_req *r, int status, const char *type, const char *detail,
                   int64_t retry_after_s)
{
    struct buf body;
    buf_init(&body, 8192);
    httpresp_problem(&body, status, type, detail);
    if (buf_error(&body) != ERR_OK)
        buf_reset(&body);
    if (retry_after_s > 0) {
        char text[24];
        (void)snprintf(text, sizeof text, "%lld", (long long)retry_after_s);
        httpd_add_header(r, "Retry-After", text);
    }
    httpd_respond(r, status, "application/problem+json", buf_span(&body));
    buf_clear(&body);
}
