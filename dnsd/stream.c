#include "dnsd/stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/logbudget.h"
#include "common/dns/wire.h"
#include "dnsd/conn.h"

#define MESSAGE_MAX (2 + DNS_TCP_LEN) /* with its length prefix */
#define BUFFER_LEN (2 * MESSAGE_MAX)
#define KEPT_MAX                                                                                   \
    (32u << 20) /* bytes kept for all connections: unfinished questions and replies                \
                 */
#define SOCKET_BUFFER_LEN (64 * 1024)
#define DEFERRED_MAX 16     /* questions of one connection with the reader */
#define GREETINGS_MAX 256   /* handshakes under way; the oldest makes room */
#define GREETING_MS 10000   /* for a handshake */
#define IDLE_MIN_MS 250     /* of a connection, however many there are */
#define ACCEPTS_MAX 64      /* from one listener before the connections get their turn */
#define ACCEPT_PAUSE_MS 100 /* when the system has no descriptor left */
#define EVENTS_MAX 64
#define STACK_LEN (256 * 1024)

/* What an epoll event is about: a connection, by slot and generation, or one of these, which no
 * generation has, plus an index. */
#define TAG_LISTENER (UINT64_C(1) << 32)
#define TAG_MAILBOX (UINT64_C(2) << 32)
#define TAG_GENERATION_SHIFT 34

/* A reply from the reader's thread. */
struct late_reply {
    struct late_reply *next;
    uint64_t connection;
    size_t len;
    uint8_t bytes[];
};

struct stream {
    pthread_t thread;
    struct mailbox mailbox;
    struct reader *reader;
    struct query_ctx ctx;
    struct conn_table conns;
    SSL_CTX *tls;                /* for the next connection; NULL: plain TCP */
    _Atomic(SSL_CTX *) next_tls; /* to take the place of `tls`; NULL: no change */
    int64_t idle_ms;
    unsigned keepalive_ds; /* idle time at present, as clients are told */
    int epoll;
    size_t kept_len;      /* of all connections' `in` and `out` */
    int64_t accept_at_ms; /* accepting again then; 0 while it goes on */
    struct logbudget budget;
    struct stream_counts counts;

    pthread_mutex_t lock; /* of `late` */
    struct late_reply *late, **late_end;

    uint8_t in[BUFFER_LEN];  /* what one connection sent */
    uint8_t out[BUFFER_LEN]; /* replies to it */
    size_t out_len;
    size_t n_fds;
    int fds[];
};

static uint64_t tag_of(const struct conn *c)
{
    return (uint64_t)c->generation << TAG_GENERATION_SHIFT | c->slot;
}

static void drop(struct stream *s, struct conn *c)
{
    s->kept_len -= c->in_len + c->out_len;
    if (c->greeting)
        metric_add(&s->counts.handshake_failed, 1);
    conn_close(&s->conns, c);
    metric_set(&s->counts.open, s->conns.all.n);
}

/* Closes the connection to make room for another. */
static void evict(struct stream *s, struct conn *c)
{
    metric_add(&s->counts.evicted, 1);
    drop(s, c);
}

/* Replaces the bytes *p of `*len` that are kept of `c` by `n` from `from`. When all that is kept
 * would be too much, the connections that are idle longest go. False when there is no memory. */
static bool keep(struct stream *s, const struct conn *c, uint8_t **p, size_t *len,
                 const uint8_t *from, size_t n)
{
    uint8_t *copy = NULL;
    while (s->kept_len - *len + n > KEPT_MAX && s->conns.all.oldest != c)
        evict(s, s->conns.all.oldest);
    if (n > 0) {
        if (s->kept_len - *len + n > KEPT_MAX || (copy = malloc(n)) == NULL)
            return false;
        memcpy(copy, from, n);
    }
    free(*p);
    s->kept_len += n - *len;
    *p = copy;
    *len = n;
    return true;
}

/* Sends `len` bytes; what the peer does not take is kept. False when the connection is gone. */
static bool send_or_keep(struct stream *s, struct conn *c, const uint8_t *p, size_t len)
{
    size_t sent = 0;
    enum channel_result r = channel_write(&c->channel, p, len, &sent);
    if (r != CHANNEL_OK && r != CHANNEL_WAIT)
        return false;
    c->out_pos = 0;
    return sent == len || keep(s, c, &c->out, &c->out_len, p + sent, len - sent);
}

static bool flush(struct stream *s, struct conn *c)
{
    size_t len = s->out_len;
    s->out_len = 0;
    return len == 0 || send_or_keep(s, c, s->out, len);
}

/* The reader's thread: the reply goes to the connection's own. */
static void send_later(const struct reader_return *ret, struct span reply)
{
    struct stream *s = ret->owner;
    struct late_reply *l = malloc(sizeof *l + 2 + reply.len);
    if (l == NULL)
        return;
    l->next = NULL;
    l->connection = ret->connection;
    l->len = 2 + reply.len;
    wire_store16(l->bytes, (unsigned)reply.len);
    memcpy(l->bytes + 2, reply.p, reply.len);
    pthread_mutex_lock(&s->lock);
    *s->late_end = l;
    s->late_end = &l->next;
    pthread_mutex_unlock(&s->lock);
    mailbox_wake(&s->mailbox);
}

/* Answers one question into s->out, which has room. */
static void answer(struct stream *s, struct conn *c, struct span request)
{
    const struct peer peer = { .stream = true,
                               .encrypted = s->tls != NULL,
                               .ip = { c->ip, c->ip_len },
                               .keepalive_ds = s->keepalive_ds };
    struct tally *tally = &s->counts.tally;
    uint8_t *out = s->out + s->out_len;
    size_t len = query_answer(&s->ctx, out + 2, DNS_TCP_LEN, request, &peer);
    if (len == 0 && s->ctx.deferred) {
        struct reader_return ret = { .send = send_later,
                                     .transport = s->tls != NULL ? TALLY_TLS : TALLY_TCP,
                                     .owner = s,
                                     .connection = (uint64_t)c->slot << 32 | c->generation };
        if (reader_submit(s->reader, &s->ctx.challenge, &ret)) {
            c->n_deferred++;
            return;
        }
        len = query_end_challenge(&s->ctx.challenge, NULL, 0, NULL, out + 2, DNS_TCP_LEN);
    }
    if (len == 0) {
        metric_add(&tally->unanswered, 1);
        return;
    }
    tally_reply(tally, &s->ctx.question, out + 2);
    wire_store16(out, (unsigned)len);
    s->out_len += 2 + len;
}

/* Whether questions of `c` may be answered now: the peer takes its replies. */
static bool may_answer(const struct conn *c)
{
    return c->out == NULL && c->n_deferred < DEFERRED_MAX;
}

/* Answers the whole questions among the `len` bytes in s->in and keeps the rest. False when the
 * connection has to go. */
static bool consume(struct stream *s, struct conn *c, size_t len)
{
    size_t pos = 0;
    bool any = false, replies = false;
    int64_t began_us = clock_mono_us();
    while (may_answer(c) && len - pos >= 2) {
        size_t n = wire_load16(s->in + pos), out_len = s->out_len;
        if (len - pos - 2 < n)
            break;
        answer(s, c, (struct span){ s->in + pos + 2, n });
        pos += 2 + n;
        any = true;
        replies |= s->out_len > out_len; /* what the reader has, it times itself */
        if (sizeof s->out - s->out_len < MESSAGE_MAX && !flush(s, c))
            return false;
    }
    if (!flush(s, c) || !keep(s, c, &c->in, &c->in_len, s->in + pos, len - pos))
        return false;
    if (any) {
        int64_t now_us = clock_mono_us();
        conn_touch(&s->conns, c, now_us / 1000);
        if (replies)
            metric_observe(&s->counts.tally.batch, now_us - began_us);
    }
    return true;
}

/* Whether nothing more can come of the connection. A question cut short by the peer's end of
 * sending never completes. */
static bool is_done(const struct conn *c)
{
    return c->ended && c->out == NULL && c->n_deferred == 0;
}

/* After whatever happened: closes the connection, or watches for what it needs next. */
static void settle(struct stream *s, struct conn *c, bool alive)
{
    if (!alive || is_done(c)) {
        drop(s, c);
        return;
    }
    bool reads = may_answer(c) && !c->ended && !(c->greeting && c->channel.wants_out);
    uint32_t events = 0;
    /* what TLS holds already does not make the socket readable: writable, it is at once */
    if (c->out != NULL || c->channel.wants_out || (reads && c->channel.unread))
        events |= EPOLLOUT;
    if (reads)
        events |= EPOLLIN;
    if (events == c->events)
        return;
    c->events = events;
    struct epoll_event ev = { .events = events, .data.u64 = tag_of(c) };
    (void)epoll_ctl(s->epoll, EPOLL_CTL_MOD, c->channel.fd, &ev);
}

/* The bytes kept of `c` back into s->in. */
static size_t load_kept(struct stream *s, const struct conn *c)
{
    if (c->in_len > 0)
        memcpy(s->in, c->in, c->in_len);
    return c->in_len;
}

static bool read_more(struct stream *s, struct conn *c)
{
    /* a kept question is incomplete, so it is shorter than one message and leaves room */
    size_t len = load_kept(s, c);
    size_t n = 0;
    switch (channel_read(&c->channel, s->in + len, sizeof s->in - len, &n)) {
    case CHANNEL_OK:
        return consume(s, c, len + n);
    case CHANNEL_WAIT:
        return true;
    case CHANNEL_END:
        c->ended = true;
        return true;
    case CHANNEL_GONE:
        break;
    }
    return false;
}

static bool write_more(struct stream *s, struct conn *c)
{
    size_t sent = 0;
    enum channel_result r =
        channel_write(&c->channel, c->out + c->out_pos, c->out_len - c->out_pos, &sent);
    if (r != CHANNEL_OK)
        return r == CHANNEL_WAIT;
    c->out_pos += sent;
    if (c->out_pos < c->out_len)
        return true;
    if (!keep(s, c, &c->out, &c->out_len, NULL, 0))
        return false;
    conn_touch(&s->conns, c, clock_mono_ms());
    return consume(s, c, load_kept(s, c)); /* questions that waited for this */
}

/* Goes on with the handshake. False when the connection has to go. */
static bool greet(struct stream *s, struct conn *c)
{
    enum channel_result r = channel_greet(&c->channel);
    if (r != CHANNEL_OK)
        return r == CHANNEL_WAIT;
    metric_add(SSL_session_reused(c->channel.ssl) ? &s->counts.resumed : &s->counts.handshakes, 1);
    conn_greeted(&s->conns, c);
    conn_touch(&s->conns, c, clock_mono_ms());
    return true;
}

static void conn_on_event(struct stream *s, struct conn *c, uint32_t events)
{
    bool alive = (events & EPOLLERR) == 0;
    /* a peer that is gone altogether, and from whom nothing is read at present */
    if ((events & EPOLLHUP) != 0 && (c->events & EPOLLIN) == 0)
        alive = false;
    if (alive && c->greeting)
        alive = greet(s, c);
    if (alive && !c->greeting) {
        if (c->out != NULL && (events & EPOLLOUT) != 0)
            alive = write_more(s, c);
        /* under TLS any event may mean that there is something to read */
        bool readable = (events & (EPOLLIN | EPOLLHUP)) != 0 || c->channel.ssl != NULL;
        if (alive && readable && may_answer(c) && !c->ended)
            alive = read_more(s, c);
    }
    settle(s, c, alive);
}

static void deliver(struct stream *s, const struct late_reply *l)
{
    struct conn *c = conn_find(&s->conns, (uint32_t)(l->connection >> 32), (uint32_t)l->connection);
    if (c == NULL)
        return;
    bool alive;
    c->n_deferred--;
    if (c->out == NULL) {
        alive = send_or_keep(s, c, l->bytes, l->len);
    } else { /* behind what waits already */
        size_t waiting = c->out_len - c->out_pos;
        alive = waiting + l->len <= sizeof s->out;
        if (alive) {
            memcpy(s->out, c->out + c->out_pos, waiting);
            memcpy(s->out + waiting, l->bytes, l->len);
            c->out_pos = 0;
            alive = keep(s, c, &c->out, &c->out_len, s->out, waiting + l->len);
        }
    }
    if (alive && may_answer(c))
        alive = consume(s, c, load_kept(s, c));
    settle(s, c, alive);
}

static void take_late(struct stream *s)
{
    pthread_mutex_lock(&s->lock);
    struct late_reply *l = s->late;
    s->late = NULL;
    s->late_end = &s->late;
    pthread_mutex_unlock(&s->lock);
    while (l != NULL) {
        struct late_reply *next = l->next;
        deliver(s, l);
        free(l);
        l = next;
    }
}

static void watch_listeners(struct stream *s, bool on)
{
    for (size_t i = 0; i < s->n_fds; i++) {
        struct epoll_event ev = { .events = on ? EPOLLIN : 0, .data.u64 = TAG_LISTENER | i };
        (void)epoll_ctl(s->epoll, EPOLL_CTL_MOD, s->fds[i], &ev);
    }
}

static void add_connection(struct stream *s, int fd, const struct sockaddr *peer, int64_t now_ms)
{
    struct channel channel;
    if (channel_open(&channel, fd, s->tls) != ERR_OK)
        return;
    struct conn *victim = conn_victim(&s->conns, peer);
    if (victim == NULL && !channel.ready && s->conns.greeting.n >= GREETINGS_MAX)
        victim = s->conns.greeting.oldest;
    if (victim != NULL)
        evict(s, victim);
    struct conn *c = conn_add(&s->conns, &channel, peer, now_ms);
    metric_add(&s->counts.accepted, 1);
    metric_set(&s->counts.open, s->conns.all.n);
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->events = EPOLLIN;
    struct epoll_event ev = { .events = EPOLLIN, .data.u64 = tag_of(c) };
    if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &ev) != 0)
        drop(s, c);
}

/* No descriptor left for a new connection: the oldest one gives up its own; where there is none,
 * accepting pauses, so that the thread does not spin. */
static void make_room(struct stream *s, int64_t now_ms)
{
    unsigned left_out;
    metric_add(&s->counts.no_descriptor, 1);
    if (logbudget_spend(&s->budget, now_ms, &left_out))
        log_warn("no file descriptor is left to accept a TCP connection: raise the limit "
                 "(ulimit -n, LimitNOFILE=); %u such lines were left out before",
                 left_out);
    if (s->conns.all.oldest != NULL) {
        evict(s, s->conns.all.oldest);
        return;
    }
    s->accept_at_ms = now_ms + ACCEPT_PAUSE_MS;
    watch_listeners(s, false);
}

static void accept_some(struct stream *s, int listener)
{
    int64_t now_ms = clock_mono_ms();
    for (unsigned i = 0; i < ACCEPTS_MAX; i++) {
        struct sockaddr_storage peer;
        socklen_t len = sizeof peer;
        int fd = accept4(listener, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            add_connection(s, fd, (const struct sockaddr *)&peer, now_ms);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            make_room(s, now_ms);
            return;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        } /* anything else is about the connection that was to be accepted */
    }
}

/* How long a connection may be idle: less when most of them are in use [RFC 9210 s4.2.1]. */
static int64_t present_idle_ms(const struct stream *s)
{
    unsigned used = s->conns.all.n * 100 / s->conns.max; /* per cent */
    int64_t idle_ms = s->idle_ms;
    if (used > 90)
        idle_ms /= 10;
    else if (used > 50)
        idle_ms -= idle_ms * 9 / 10 * (used - 50) / 40;
    return idle_ms < IDLE_MIN_MS ? IDLE_MIN_MS : idle_ms;
}

/* Closes what of `list` is older than `age_ms`; returns when the next one will be, at most
 * `until_ms`. */
static int64_t expire_list(struct stream *s, const struct conn_list *list, int64_t age_ms,
                           int64_t now_ms, int64_t until_ms)
{
    while (list->oldest != NULL && list->oldest->active_ms + age_ms <= now_ms) {
        metric_add(&s->counts.expired, 1);
        drop(s, list->oldest);
    }
    if (list->oldest == NULL || list->oldest->active_ms + age_ms > until_ms)
        return until_ms;
    return list->oldest->active_ms + age_ms;
}

/* Closes what is over its time; returns how long epoll may wait, in milliseconds. */
static int expire(struct stream *s)
{
    int64_t now_ms = clock_mono_ms(), until_ms = INT64_MAX;
    until_ms = expire_list(s, &s->conns.greeting, GREETING_MS, now_ms, until_ms);
    int64_t idle_ms = present_idle_ms(s);
    s->keepalive_ds = (unsigned)(idle_ms / 100);
    until_ms = expire_list(s, &s->conns.all, idle_ms, now_ms, until_ms);
    if (s->accept_at_ms != 0 && s->accept_at_ms <= now_ms) {
        s->accept_at_ms = 0;
        watch_listeners(s, true);
    }
    if (s->accept_at_ms != 0 && s->accept_at_ms < until_ms)
        until_ms = s->accept_at_ms;
    unsigned left_out = logbudget_take_left_out(&s->budget, now_ms);
    if (left_out > 0)
        log_warn("%u more TCP connections found no file descriptor", left_out);
    return until_ms == INT64_MAX ? -1 : (int)(until_ms - now_ms);
}

/* Takes a new certificate over. */
static void take_tls(struct stream *s)
{
    SSL_CTX *tls = atomic_exchange(&s->next_tls, NULL);
    if (tls == NULL)
        return;
    SSL_CTX_free(s->tls);
    s->tls = tls;
}

static bool dispatch(struct stream *s, const struct epoll_event *ev)
{
    uint64_t tag = ev->data.u64;
    if (tag == TAG_MAILBOX) {
        bool go_on = mailbox_read(&s->mailbox, &s->ctx.view);
        take_late(s);
        take_tls(s);
        return go_on;
    }
    if ((tag & TAG_LISTENER) != 0) {
        accept_some(s, s->fds[(uint32_t)tag]);
        return true;
    }
    /* of another generation when it was closed earlier in this round: its reset is not the next
     * one's */
    struct conn *c = &s->conns.slots[(uint32_t)tag];
    if (c->channel.fd >= 0 && tag_of(c) == tag)
        conn_on_event(s, c, ev->events);
    return true;
}

static void *run(void *arg)
{
    struct stream *s = arg;
    struct epoll_event events[EVENTS_MAX];
    for (;;) {
        int n = epoll_wait(s->epoll, events, EVENTS_MAX, expire(s));
        s->ctx.now_s = clock_now_s();
        for (int i = 0; i < n; i++) {
            if (!dispatch(s, &events[i]))
                return NULL;
        }
    }
}

static enum err watch(struct stream *s, int fd, uint64_t tag, struct err_info *info)
{
    struct epoll_event ev = { .events = EPOLLIN, .data.u64 = tag };
    if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &ev) != 0)
        return err_set(info, ERR_IO, "cannot watch a socket: %s", strerror(errno));
    return ERR_OK;
}

/* What the kernel keeps of one connection: by itself it would let a peer that does not read, or
 * that is not read from, have megabytes. Accepted sockets inherit it. */
static void bound_buffers(int listener)
{
    int len = SOCKET_BUFFER_LEN;
    (void)setsockopt(listener, SOL_SOCKET, SO_SNDBUF, &len, sizeof len);
    (void)setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &len, sizeof len);
}

static enum err start(struct stream *s, struct err_info *info)
{
    pthread_attr_t attr;
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (s->epoll < 0)
        return err_set(info, ERR_IO, "cannot make an epoll set: %s", strerror(errno));
    enum err e = mailbox_init(&s->mailbox, info);
    if (e == ERR_OK)
        e = watch(s, s->mailbox.fd, TAG_MAILBOX, info);
    for (size_t i = 0; e == ERR_OK && i < s->n_fds; i++) {
        bound_buffers(s->fds[i]);
        e = watch(s, s->fds[i], TAG_LISTENER | i, info);
    }
    if (e != ERR_OK || pthread_attr_init(&attr) != 0)
        return e != ERR_OK ? e : err_set(info, ERR_NOMEM, "out of memory");
    (void)pthread_attr_setstacksize(&attr, STACK_LEN);
    int rc = pthread_create(&s->thread, &attr, run, s);
    pthread_attr_destroy(&attr);
    return rc == 0 ? ERR_OK : err_set(info, ERR_IO, "cannot start a thread: %s", strerror(rc));
}

enum err stream_new(struct stream **out, const int *fds, size_t n, SSL_CTX *tls,
                    const struct stream_limits *limits, const struct view *view,
                    struct reader *reader, struct err_info *info)
{
    struct stream *s = calloc(1, sizeof *s + n * sizeof s->fds[0]);
    if (s == NULL)
        return err_set(info, ERR_NOMEM, "out of memory");
    (void)pthread_mutex_init(&s->lock, NULL);
    s->late_end = &s->late;
    s->epoll = s->mailbox.fd = -1;
    s->reader = reader;
    if (tls != NULL && SSL_CTX_up_ref(tls) == 1)
        s->tls = tls;
    s->ctx.view = view;
    s->idle_ms = limits->idle_ms;
    s->n_fds = n;
    memcpy(s->fds, fds, n * sizeof fds[0]);
    enum err e = conn_table_init(&s->conns, limits->max, limits->client_max);
    if (e == ERR_OK)
        e = signer_new(&s->ctx.signer, SIGNER_KEPT);
    if (e == ERR_OK)
        s->counts.tally.signatures = signer_counts(s->ctx.signer);
    if (e != ERR_OK)
        (void)err_set(info, e, "out of memory");
    else
        e = start(s, info);
    if (e != ERR_OK) {
        stream_free(s);
        return e;
    }
    *out = s;
    return ERR_OK;
}

void stream_stop(struct stream *s)
{
    if (s == NULL)
        return;
    mailbox_stop(&s->mailbox);
    pthread_join(s->thread, NULL);
}

void stream_free(struct stream *s)
{
    if (s == NULL)
        return;
    while (s->late != NULL) {
        struct late_reply *l = s->late;
        s->late = l->next;
        free(l);
    }
    conn_table_clear(&s->conns);
    signer_free(s->ctx.signer);
    SSL_CTX_free(atomic_load(&s->next_tls));
    SSL_CTX_free(s->tls);
    mailbox_clear(&s->mailbox);
    if (s->epoll >= 0)
        close(s->epoll);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

struct mailbox *stream_mailbox(struct stream *s)
{
    return &s->mailbox;
}

void stream_set_tls(struct stream *s, SSL_CTX *tls)
{
    if (SSL_CTX_up_ref(tls) != 1)
        return;
    SSL_CTX_free(atomic_exchange(&s->next_tls, tls));
    mailbox_wake(&s->mailbox);
}

const struct stream_counts *stream_counts(const struct stream *s)
{
    return &s->counts;
}
