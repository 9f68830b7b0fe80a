#include "agent/tunnel.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/event_struct.h>
#include <openssl/err.h>

#include "agent/front.h"
#include "agent/proxyheader.h"
#include "common/base/clock.h"

#define PIECE TUNNEL_HELD_MAX      /* bytes moved at once: four full TLS records */
#define ROUNDS_PER_CALL 4          /* pieces each way before other connections get their turn */
#define READ_AHEAD_LEN (64 * 1024) /* asked of the client's socket at once, while it sends much */
#define ASK_AGAIN_MIN_MS 10        /* a backend that has no room in its queue */
#define ASK_AGAIN_MAX_MS 500

enum phase { PHASE_HANDSHAKE, PHASE_CONNECT, PHASE_COPY };

/* One direction. Bytes that the reader gave and the writer did not take yet wait in `held`. */
struct flow {
    uint8_t *held; /* NULL while nothing waits */
    size_t at, len;
    uint64_t bytes; /* taken by the writer so far */
    bool eof;       /* the reader said so */
    bool shut;      /* and it was passed on to the writer */
};

/* A socket and what it is known to be ready for. Events are edge-triggered: a flag is set by the
 * loop and cleared by EAGAIN, which spares a system call for every pause of either side. */
struct side {
    int fd;
    bool readable, writable;
    struct event ev;
};

struct tunnel {
    struct loop *loop;
    struct tunnel *prev, *next;
    struct tunnel_options o;
    struct tunnel_ends *ends; /* NULL: the socket knows, or nobody asks */
    enum phase phase;
    SSL *ssl;
    bool read_wants_write; /* TLS has something of its own to send before it can read on */
    bool read_failed;      /* after records that are still to be passed on */
    struct side client, backend;
    struct flow up, down; /* client to backend, backend to client */
    struct loop_timer *timer;
    int64_t active_ms; /* last moment a byte moved, or the phase began */
    bool resume;       /* the timer stands for "go on", not for a deadline */
};

enum step { STEP_MOVED, STEP_BLOCKED, STEP_BROKEN };

static void pump(struct tunnel *t);
static void ask_backend(struct tunnel *t);

static void end(struct tunnel *t, enum tunnel_end why)
{
    t->o.on_end(t->o.arg, t, why, t->up.bytes, t->down.bytes);
    tunnel_free(t);
}

static int64_t limit_ms(const struct tunnel *t)
{
    switch (t->phase) {
    case PHASE_HANDSHAKE:
        return t->o.handshake_ms;
    case PHASE_CONNECT:
        return t->o.connect_ms;
    default:
        return t->up.eof || t->down.eof ? t->o.half_ms : t->o.idle_ms;
    }
}

static void set_phase(struct tunnel *t, enum phase phase)
{
    t->phase = phase;
    t->active_ms = clock_mono_ms();
    loop_timer_set(t->timer, limit_ms(t));
}

static void on_timer(void *arg)
{
    struct tunnel *t = arg;
    if (t->resume) {
        t->resume = false;
        loop_timer_set(t->timer, limit_ms(t));
        pump(t);
        return;
    }
    int64_t left_ms = t->active_ms + limit_ms(t) - clock_mono_ms();
    if (left_ms > 0 && t->phase == PHASE_CONNECT && !event_initialized(&t->backend.ev))
        ask_backend(t);
    else if (left_ms > 0)
        loop_timer_set(t->timer, left_ms);
    else
        end(t, t->phase == PHASE_HANDSHAKE ? TUNNEL_HANDSHAKE
               : t->phase == PHASE_CONNECT ? TUNNEL_BACKEND
                                           : TUNNEL_IDLE);
}

static enum step read_record(struct tunnel *t, uint8_t *p, size_t cap, size_t *n)
{
    if (t->read_failed)
        return STEP_BROKEN;
    if (!t->client.readable && SSL_pending(t->ssl) == 0 &&
        !(t->read_wants_write && t->client.writable))
        return STEP_BLOCKED;
    ERR_clear_error();
    t->read_wants_write = false;
    if (SSL_read_ex(t->ssl, p, cap, n) == 1)
        return STEP_MOVED;
    switch (SSL_get_error(t->ssl, 0)) {
    case SSL_ERROR_WANT_READ:
        t->client.readable = false;
        return STEP_BLOCKED;
    case SSL_ERROR_WANT_WRITE:
        t->client.writable = false;
        t->read_wants_write = true;
        return STEP_BLOCKED;
    case SSL_ERROR_ZERO_RETURN:
        *n = 0;
        return STEP_MOVED;
    default:
        t->read_failed = true;
        return STEP_BROKEN;
    }
}

/* TLS gives a record at a time; one send to the backend takes several. The end, or what
 * is bad, after a good record is met again by the next call. */
static enum step read_client(struct tunnel *t, uint8_t *p, size_t cap, size_t *n)
{
    size_t len = 0, got = 0;
    enum step s = read_record(t, p, cap, &len);
    while (s == STEP_MOVED && len > 0 && len < cap &&
           read_record(t, p + len, cap - len, &got) == STEP_MOVED && got > 0)
        len += got;
    *n = len;
    return s;
}

static enum step write_client(struct tunnel *t, const uint8_t *p, size_t len, size_t *n)
{
    if (!t->client.writable)
        return STEP_BLOCKED;
    ERR_clear_error();
    if (SSL_write_ex(t->ssl, p, len, n) == 1)
        return STEP_MOVED;
    int why = SSL_get_error(t->ssl, 0);
    if (why != SSL_ERROR_WANT_WRITE && why != SSL_ERROR_WANT_READ)
        return STEP_BROKEN;
    t->client.writable = false;
    return STEP_BLOCKED;
}

static enum step read_backend(struct tunnel *t, uint8_t *p, size_t cap, size_t *n)
{
    if (!t->backend.readable)
        return STEP_BLOCKED;
    ssize_t got;
    do
        got = recv(t->backend.fd, p, cap, 0);
    while (got < 0 && errno == EINTR);
    if (got >= 0) {
        *n = (size_t)got;
        return STEP_MOVED;
    }
    if (errno != EAGAIN)
        return STEP_BROKEN;
    t->backend.readable = false;
    return STEP_BLOCKED;
}

static enum step write_backend(struct tunnel *t, const uint8_t *p, size_t len, size_t *n)
{
    if (!t->backend.writable)
        return STEP_BLOCKED;
    ssize_t put;
    do
        put = send(t->backend.fd, p, len, MSG_NOSIGNAL);
    while (put < 0 && errno == EINTR);
    if (put >= 0) {
        *n = (size_t)put;
        return STEP_MOVED;
    }
    if (errno != EAGAIN)
        return STEP_BROKEN;
    t->backend.writable = false;
    return STEP_BLOCKED;
}

/* The two directions differ in these three functions only. */
struct flow_ops {
    enum step (*read)(struct tunnel *t, uint8_t *p, size_t cap, size_t *n);
    enum step (*write)(struct tunnel *t, const uint8_t *p, size_t len, size_t *n);
    enum step (*shut)(struct tunnel *t);
};

static enum step shut_backend(struct tunnel *t)
{
    return shutdown(t->backend.fd, SHUT_WR) == 0 || errno == ENOTCONN ? STEP_MOVED : STEP_BROKEN;
}

static enum step shut_client(struct tunnel *t)
{
    if (!t->client.writable)
        return STEP_BLOCKED;
    ERR_clear_error();
    int rc = SSL_shutdown(t->ssl);
    if (rc < 0) {
        int why = SSL_get_error(t->ssl, rc);
        if (why != SSL_ERROR_WANT_WRITE && why != SSL_ERROR_WANT_READ)
            return STEP_BROKEN;
        t->client.writable = false;
        return STEP_BLOCKED;
    }
    /* many clients wait for the end of the connection, whatever TLS says */
    (void)shutdown(t->client.fd, SHUT_WR);
    return STEP_MOVED;
}

static const struct flow_ops UP = { read_client, write_backend, shut_backend };
static const struct flow_ops DOWN = { read_backend, write_client, shut_client };

/* Keeps the `len` bytes that the writer did not take. */
static enum step hold(struct flow *f, const uint8_t *p, size_t len)
{
    f->held = malloc(len);
    if (f->held == NULL)
        return STEP_BROKEN;
    memcpy(f->held, p, len);
    f->at = 0;
    f->len = len;
    return STEP_BLOCKED;
}

/* Writes what waits. STEP_MOVED when nothing waits any more. */
static enum step flush(struct tunnel *t, struct flow *f, const struct flow_ops *ops)
{
    while (f->at < f->len) {
        size_t n = 0;
        enum step s = ops->write(t, f->held + f->at, f->len - f->at, &n);
        if (s != STEP_MOVED)
            return s;
        f->at += n;
        f->bytes += n;
        t->active_ms = clock_mono_ms();
    }
    free(f->held);
    f->held = NULL;
    f->at = f->len = 0;
    return STEP_MOVED;
}

static enum step move_piece(struct tunnel *t, struct flow *f, const struct flow_ops *ops)
{
    static _Thread_local uint8_t piece[PIECE]; /* never outlives the call: one for all tunnels */
    enum step s = flush(t, f, ops);
    if (s != STEP_MOVED)
        return s;
    if (f->eof) {
        if (f->shut)
            return STEP_BLOCKED;
        s = ops->shut(t);
        f->shut = s == STEP_MOVED;
        return s;
    }
    size_t len = 0, done = 0;
    s = ops->read(t, piece, sizeof piece, &len);
    if (s != STEP_MOVED)
        return s;
    t->active_ms = clock_mono_ms();
    if (len == 0) {
        f->eof = true;
        loop_timer_set(t->timer, limit_ms(t));
        return STEP_MOVED;
    }
    while (done < len) {
        size_t n = 0;
        s = ops->write(t, piece + done, len - done, &n);
        if (s == STEP_BROKEN)
            return s;
        if (s == STEP_BLOCKED)
            return hold(f, piece + done, len - done);
        done += n;
        f->bytes += n;
    }
    return STEP_MOVED;
}

static void copy(struct tunnel *t)
{
    t->resume = false; /* an event may come before the timer, which then is a deadline again */
    for (int round = 0; round < ROUNDS_PER_CALL; round++) {
        enum step up = move_piece(t, &t->up, &UP);
        enum step down = up == STEP_BROKEN ? up : move_piece(t, &t->down, &DOWN);
        if (up == STEP_BROKEN || down == STEP_BROKEN) {
            end(t, TUNNEL_ABORTED);
            return;
        }
        if (t->up.shut && t->down.shut) {
            end(t, TUNNEL_DONE);
            return;
        }
        if (up == STEP_BLOCKED && down == STEP_BLOCKED)
            return;
    }
    t->resume = true;
    loop_timer_set(t->timer, 0);
}

static enum step watch(struct tunnel *t, struct side *s, event_callback_fn fn)
{
    short what = EV_READ | EV_WRITE | EV_ET | EV_PERSIST;
    if (event_assign(&s->ev, loop_base(t->loop), s->fd, what, fn, t) != 0 ||
        event_add(&s->ev, NULL) != 0)
        return STEP_BROKEN;
    return STEP_MOVED;
}

static void on_backend(evutil_socket_t fd, short what, void *arg)
{
    struct tunnel *t = arg;
    (void)fd;
    t->backend.readable |= (what & EV_READ) != 0;
    t->backend.writable |= (what & EV_WRITE) != 0;
    pump(t);
}

/* A Unix socket whose queue is full refuses at once, and nothing tells when there is room again
 * [connect(2), EAGAIN]: it is asked anew until its time is over. */
static void ask_backend(struct tunnel *t)
{
    const struct sockaddr *sa = (const struct sockaddr *)t->o.backend;
    int64_t passed_ms = clock_mono_ms() - t->active_ms, left_ms = t->o.connect_ms - passed_ms;
    if (connect(t->backend.fd, sa, t->o.backend_len) == 0 || errno == EINPROGRESS) {
        if (watch(t, &t->backend, on_backend) == STEP_MOVED)
            loop_timer_set(t->timer, left_ms > 0 ? left_ms : 0);
        else
            end(t, TUNNEL_BACKEND);
        return;
    }
    if (errno != EAGAIN) {
        end(t, TUNNEL_BACKEND);
        return;
    }
    int64_t wait_ms = ASK_AGAIN_MIN_MS + passed_ms / 4;
    if (wait_ms > ASK_AGAIN_MAX_MS)
        wait_ms = ASK_AGAIN_MAX_MS;
    loop_timer_set(t->timer, wait_ms < left_ms ? wait_ms : left_ms);
}

/* Starts the connection to the backend: only now, so that a port scan never reaches it. */
static void start_backend(struct tunnel *t)
{
    const struct sockaddr *sa = (const struct sockaddr *)t->o.backend;
    int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        end(t, TUNNEL_BACKEND);
        return;
    }
    t->backend.fd = fd;
    int on = 1;
    if (sa->sa_family != AF_UNIX)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    set_phase(t, PHASE_CONNECT);
    ask_backend(t);
}

static void handshake(struct tunnel *t)
{
    ERR_clear_error();
    int rc = SSL_accept(t->ssl);
    if (rc == 1) {
        start_backend(t);
        return;
    }
    switch (SSL_get_error(t->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
        t->client.readable = false;
        break;
    case SSL_ERROR_WANT_WRITE:
        t->client.writable = false;
        break;
    default:
        end(t, TUNNEL_HANDSHAKE);
    }
}

static bool get_ends(const struct tunnel *t, struct tunnel_ends *out)
{
    socklen_t client_len = sizeof out->client, ours_len = sizeof out->ours;
    if (t->ends != NULL) {
        *out = *t->ends;
        return true;
    }
    return getpeername(t->client.fd, (struct sockaddr *)&out->client, &client_len) == 0 &&
           getsockname(t->client.fd, (struct sockaddr *)&out->ours, &ours_len) == 0;
}

/* Puts the header in front of what the client sends. */
static enum step introduce(struct tunnel *t)
{
    struct tunnel_ends ends;
    uint8_t header[PROXYHEADER_MAX];
    if (!get_ends(t, &ends))
        return STEP_BROKEN;
    size_t len = proxyheader_write(header, (const struct sockaddr *)&ends.client,
                                   (const struct sockaddr *)&ends.ours);
    return hold(&t->up, header, len);
}

static void finish_connect(struct tunnel *t)
{
    if (!t->backend.writable)
        return;
    int errnum = 0;
    socklen_t len = sizeof errnum;
    if (getsockopt(t->backend.fd, SOL_SOCKET, SO_ERROR, &errnum, &len) != 0 || errnum != 0) {
        end(t, TUNNEL_BACKEND);
        return;
    }
    if (t->o.proxy_protocol && introduce(t) == STEP_BROKEN) {
        end(t, TUNNEL_ABORTED);
        return;
    }
    set_phase(t, PHASE_COPY);
    copy(t);
}

static void pump(struct tunnel *t)
{
    switch (t->phase) {
    case PHASE_HANDSHAKE:
        handshake(t);
        break;
    case PHASE_CONNECT:
        finish_connect(t);
        break;
    case PHASE_COPY:
        copy(t);
        break;
    }
}

static void on_client(evutil_socket_t fd, short what, void *arg)
{
    struct tunnel *t = arg;
    (void)fd;
    t->client.readable |= (what & EV_READ) != 0;
    t->client.writable |= (what & EV_WRITE) != 0;
    pump(t);
}

/* Many browsers end a connection without a close_notify. OpenSSL would take that for an attack,
 * throw the session away, and with it every resumption. It is taken for an end here, as other
 * proxies do: what runs behind us frames its messages, so that a cut one is seen there. */
static void set_up_tls(struct tunnel *t)
{
    (void)SSL_set_options(t->ssl, SSL_OP_IGNORE_UNEXPECTED_EOF);
    /* partial writes, and a buffer that may move between two attempts: see hold() */
    (void)SSL_set_mode(t->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                   SSL_MODE_RELEASE_BUFFERS);
    SSL_set_read_ahead(t->ssl, 1);
    SSL_set_default_read_buffer_len(t->ssl, READ_AHEAD_LEN);
    front_set_alpn(t->ssl, t->o.alpn);
    SSL_set_accept_state(t->ssl);
}

enum err tunnel_new(struct tunnel **out, struct loop *l, int client_fd, SSL_CTX *tls,
                    const struct tunnel_options *o, const struct tunnel_ends *ends)
{
    struct tunnel *t = calloc(1, sizeof *t);
    if (t == NULL) {
        close(client_fd);
        return ERR_NOMEM;
    }
    bool told = ends != NULL && o->proxy_protocol;
    t->ends = told ? malloc(sizeof *ends) : NULL;
    if (t->ends != NULL)
        *t->ends = *ends;
    t->loop = l;
    t->o = *o;
    t->client.fd = client_fd;
    t->backend.fd = -1;
    int on = 1;
    (void)setsockopt(client_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    t->ssl = SSL_new(tls);
    if ((told && t->ends == NULL) || t->ssl == NULL || SSL_set_fd(t->ssl, client_fd) != 1 ||
        loop_timer_new(&t->timer, l, on_timer, t) != ERR_OK ||
        watch(t, &t->client, on_client) != STEP_MOVED) {
        ERR_clear_error();
        tunnel_free(t);
        return ERR_NOMEM;
    }
    set_up_tls(t);
    set_phase(t, PHASE_HANDSHAKE);
    *out = t;
    return ERR_OK;
}

static void close_side(struct side *s)
{
    if (event_initialized(&s->ev))
        (void)event_del(&s->ev);
    if (s->fd >= 0)
        close(s->fd);
}

void tunnel_free(struct tunnel *t)
{
    if (t == NULL)
        return;
    close_side(&t->client);
    close_side(&t->backend);
    loop_timer_free(t->timer);
    if (t->phase != PHASE_HANDSHAKE && t->ssl != NULL) /* for the same reason as in set_up_tls() */
        SSL_set_shutdown(t->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(t->ssl);
    free(t->ends);
    free(t->up.held);
    free(t->down.held);
    free(t);
}

struct tunnel *tunnel_next(const struct tunnel *t)
{
    return t->next;
}

void tunnel_link(struct tunnel **list, struct tunnel *t)
{
    t->prev = NULL;
    t->next = *list;
    if (*list != NULL)
        (*list)->prev = t;
    *list = t;
}

void tunnel_unlink(struct tunnel **list, struct tunnel *t)
{
    if (t->prev != NULL)
        t->prev->next = t->next;
    else
        *list = t->next;
    if (t->next != NULL)
        t->next->prev = t->prev;
}
