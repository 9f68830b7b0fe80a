#include "agent/relayclient.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/net/relayframe.h"

#define CONNECT_MS 20000
#define GREETING_MS 20000 /* for the handshake and the relay's welcome */
#define DIAL_S 10
#define DIALS_MAX 64           /* under way at once */
#define OUTPUT_MAX (16 * 1024) /* bytes that the relay does not take */
#define RETRY_DOUBLINGS_MAX 5
#define PROBE_EVERY_S 15 /* of a connection that seems dead, ... */
#define PROBES 4         /* ... and how many */
#define LASTING_MS 60000 /* a connection that held so long was a good one */
#define FRAME_MS 10000   /* for the rest of a frame that has begun */
#define FRAMES_MAX 1000  /* in a second */
#define STUCK_N 2        /* attempts in a row that failed, ... */
#define STUCK_MORE 3     /* ... or up to so many more, by chance: a relay has many devices */
#define ASK_AGAIN_MS INT64_C(3600000)
#define ASK_ANEW_MS 600000 /* a connection that held so long is none of that hour */

static const unsigned char ALPN[] = "\x0f" RELAYFRAME_ALPN;
_Static_assert(sizeof RELAYFRAME_ALPN - 1 == 0x0f, "the length in front of it");

enum state { STATE_OFF, STATE_WAIT, STATE_CONNECT, STATE_GREET, STATE_UP };

/* A connection back to the relay, until it is there. */
struct dial {
    LIST_ENTRY(dial) entry;
    struct relayclient *owner;
    int fd;
    struct event ev;
    struct relayframe_dial what;
};

struct relayclient {
    struct loop *loop;
    struct relayclient_options o;
    SSL_CTX *tls;
    struct relaygrant grant;
    enum state state;
    struct loop_timer *timer; /* the end of WAIT, CONNECT or GREET; while UP, of a frame */
    struct fetch_op *op;      /* while CONNECT */
    struct bufferevent *bev;  /* from GREET on */
    struct addr at;           /* of the relay, likewise, with the port for dialling back */
    unsigned attempts;        /* in a row that did not last, ... */
    unsigned stuck_at;        /* ... and after how many of them the service is asked */
    int64_t up_ms, since_at;  /* since when it is up, or is not: monotonic, Unix seconds */
    int64_t second_ms;        /* in which the last frame came; monotonic */
    unsigned n_frames;        /* in it */
    bool in_frame;            /* one has begun, and the timer runs */
    int64_t asked_ms;         /* on_stuck() was last called; monotonic, 0: never */
    uint64_t n_clients;
    char why[120]; /* it is not up; "": no reason known */
    LIST_HEAD(, dial) dials;
    unsigned n_dials;
};

static void connect_relay(struct relayclient *r);

/* ---- the connection comes and goes ----------------------------------------------------------- */

static void set_state(struct relayclient *r, enum state s)
{
    bool seen = (s == STATE_UP) != (r->state == STATE_UP) || s == STATE_OFF;
    r->state = s;
    if (!seen)
        return;
    r->since_at = clock_now_s();
    if (r->o.on_state != NULL)
        r->o.on_state(r->o.arg);
}

static void dial_free(struct dial *d)
{
    LIST_REMOVE(d, entry);
    d->owner->n_dials--;
    if (event_initialized(&d->ev))
        (void)event_del(&d->ev);
    if (d->fd >= 0)
        close(d->fd);
    explicit_bzero(&d->what.key, sizeof d->what.key);
    free(d);
}

/* A relay that lost us lets nobody wait for us: who was to be dialled back for is gone, too. */
static void drop(struct relayclient *r)
{
    while (!LIST_EMPTY(&r->dials))
        dial_free(LIST_FIRST(&r->dials));
    fetch_cancel(r->op);
    r->op = NULL;
    if (r->bev != NULL)
        bufferevent_free(r->bev);
    r->bev = NULL;
    r->in_frame = false;
    ERR_clear_error();
    loop_timer_cancel(r->timer);
}

/* When a relay restarts, all of its devices come back: not at the same moment. */
static int64_t wait_ms(const struct relayclient *r)
{
    uint32_t random;
    unsigned n = r->attempts < RETRY_DOUBLINGS_MAX ? r->attempts : RETRY_DOUBLINGS_MAX;
    int64_t unit_ms = r->o.retry_s * 1000;
    secret_random(&random, sizeof random);
    return (unit_ms << n) / 2 + (int64_t)(random % 1024) * (unit_ms << n) / 1024;
}

/* What the service said may be out of date: another relay, or a fresh ticket. */
static void ask_service(struct relayclient *r)
{
    int64_t now_ms = clock_mono_ms();
    if (r->attempts < r->stuck_at || (r->asked_ms != 0 && now_ms - r->asked_ms < ASK_AGAIN_MS))
        return;
    r->asked_ms = now_ms;
    r->o.on_stuck(r->o.arg);
}

static unsigned pick_stuck(void)
{
    uint32_t random;
    secret_random(&random, sizeof random);
    return STUCK_N + random % STUCK_MORE;
}

static void lose(struct relayclient *r, const char *why)
{
    bool was_up = r->state == STATE_UP;
    int64_t held_ms = was_up ? clock_mono_ms() - r->up_ms : 0;
    if (held_ms >= LASTING_MS)
        r->attempts = 0;
    if (held_ms >= ASK_ANEW_MS)
        r->asked_ms = 0;
    if (r->attempts == 0)
        r->stuck_at = pick_stuck();
    int64_t ms = wait_ms(r);
    if (was_up || r->attempts == 0)
        log_info("relay %s: %s", r->grant.name, why);
    (void)snprintf(r->why, sizeof r->why, "%s", why);
    r->attempts++;
    drop(r);
    set_state(r, STATE_WAIT);
    loop_timer_set(r->timer, ms);
    if (!was_up)
        r->o.on_tried(r->o.arg, false);
    ask_service(r);
}

static void on_timer(void *arg)
{
    struct relayclient *r = arg;
    if (r->state == STATE_WAIT)
        connect_relay(r);
    else
        lose(r, "the relay does not answer");
}

/* ---- dialling back --------------------------------------------------------------------------- */

/* May lose the connection: r->bev is then NULL. */
static void send_frame(struct relayclient *r, const uint8_t *frame, size_t len)
{
    if (evbuffer_get_length(bufferevent_get_output(r->bev)) + len > OUTPUT_MAX ||
        bufferevent_write(r->bev, frame, len) != 0)
        lose(r, "the relay does not take what is sent");
}

static void decline(struct relayclient *r, uint32_t slot)
{
    uint8_t frame[RELAYFRAME_MAX];
    if (r->state == STATE_UP)
        send_frame(r, frame, relayframe_write_decline(frame, slot));
}

/* The connection is there, or is not. */
static void finish_dial(struct dial *d, bool timed_out)
{
    struct relayclient *r = d->owner;
    uint8_t first[RELAYFRAME_DATA_LEN];
    int errnum = 0;
    socklen_t len = sizeof errnum;
    relayframe_write_data(first, &d->what.key);
    bool good = !timed_out && getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &errnum, &len) == 0 &&
                errnum == 0 && send(d->fd, first, sizeof first, MSG_NOSIGNAL) == sizeof first;
    explicit_bzero(first, sizeof first);
    if (good) {
        struct addr client = d->what.client, ours = d->what.relay;
        int fd = d->fd;
        (void)event_del(&d->ev);
        d->fd = -1;
        dial_free(d);
        r->n_clients++;
        r->o.on_client(r->o.arg, fd, &client, &ours);
        return;
    }
    uint32_t slot = d->what.key.slot;
    dial_free(d);
    decline(r, slot); /* frees the others when the connection is lost by it */
}

static void on_dialled(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    finish_dial(arg, (what & EV_TIMEOUT) != 0);
}

static enum err start_dial(struct relayclient *r, const struct relayframe_dial *what)
{
    struct timeval limit = { .tv_sec = DIAL_S };
    const struct sockaddr *sa = (const struct sockaddr *)&r->at.ss;
    struct dial *d = r->n_dials < DIALS_MAX ? calloc(1, sizeof *d) : NULL;
    int on = 1;
    if (d == NULL)
        return ERR_LIMIT;
    d->owner = r;
    d->what = *what;
    LIST_INSERT_HEAD(&r->dials, d, entry);
    r->n_dials++;
    d->fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (d->fd < 0 || setsockopt(d->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
        (connect(d->fd, sa, r->at.len) != 0 && errno != EINPROGRESS) ||
        event_assign(&d->ev, loop_base(r->loop), d->fd, EV_WRITE, on_dialled, d) != 0 ||
        event_add(&d->ev, &limit) != 0) {
        dial_free(d);
        return ERR_IO;
    }
    return ERR_OK;
}

/* ---- what the relay says --------------------------------------------------------------------- */

/* The device is not woken by this, nor by the relay's answers: both are the kernels'. */
static void keep_alive(int fd, int idle_s)
{
    int on = 1, every_s = PROBE_EVERY_S, tries = PROBES;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof every_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &tries, sizeof tries);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

static void take_welcome(struct relayclient *r, struct span body)
{
    uint16_t keepalive_s;
    if (relayframe_read_welcome(&keepalive_s, body) != ERR_OK)
        return;
    keep_alive(bufferevent_getfd(r->bev), keepalive_s < 10 ? 10 : keepalive_s);
    if (r->state == STATE_UP)
        return;
    loop_timer_cancel(r->timer);
    log_info("relay %s: connected", r->grant.name);
    r->why[0] = 0;
    r->up_ms = clock_mono_ms();
    set_state(r, STATE_UP);
    r->o.on_tried(r->o.arg, true);
}

/* A second device with our key: to fight with it for the place would help nobody. */
static void take_goodbye(struct relayclient *r, struct span body)
{
    char why[100];
    uint8_t reason = 0;
    if (relayframe_read_goodbye(&reason, body) != ERR_OK)
        reason = 0; /* none that we know */
    if (reason == RELAYFRAME_REPLACED || reason == RELAYFRAME_TICKET_BAD) {
        r->attempts = RETRY_DOUBLINGS_MAX;
        r->up_ms = clock_mono_ms(); /* that it lasted until now makes it no better */
    }
    (void)snprintf(why, sizeof why, "sent away: %s", relayframe_reason_text(reason));
    lose(r, why);
}

static void take_frame(struct relayclient *r, const struct relayframe *f)
{
    struct relayframe_dial dial;
    if (f->kind == RELAYFRAME_WELCOME) {
        take_welcome(r, f->body);
    } else if (f->kind == RELAYFRAME_GOODBYE) {
        take_goodbye(r, f->body);
    } else if (f->kind == RELAYFRAME_DIAL && r->state == STATE_UP &&
               relayframe_read_dial(&dial, f->body) == ERR_OK) {
        if (!r->o.may_come(r->o.arg, &dial.client) || start_dial(r, &dial) != ERR_OK)
            decline(r, dial.key.slot);
        explicit_bzero(&dial.key, sizeof dial.key);
    }
}

/* No relay calls so often; one that does would keep this device busy. */
static bool is_flood(struct relayclient *r)
{
    int64_t now_ms = clock_mono_ms();
    if (now_ms - r->second_ms >= 1000) {
        r->second_ms = now_ms;
        r->n_frames = 0;
    }
    return ++r->n_frames > FRAMES_MAX;
}

/* `len` bytes of a frame that is not here as a whole. */
static void await_rest(struct relayclient *r, size_t len)
{
    if (r->state != STATE_UP || (len > 0) == r->in_frame)
        return;
    r->in_frame = len > 0;
    if (r->in_frame)
        loop_timer_set(r->timer, FRAME_MS);
    else
        loop_timer_cancel(r->timer);
}

static void read_frames(struct relayclient *r)
{
    while (r->bev != NULL) {
        struct evbuffer *in = bufferevent_get_input(r->bev);
        size_t len = evbuffer_get_length(in);
        uint8_t bytes[RELAYFRAME_MAX];
        if (len > sizeof bytes)
            len = sizeof bytes;
        if (evbuffer_copyout(in, bytes, len) != (ev_ssize_t)len)
            return;
        struct span s = { bytes, len };
        struct relayframe f;
        enum err e = relayframe_take(&f, &s);
        if (e == ERR_AGAIN) {
            await_rest(r, len);
            return;
        }
        if (e != ERR_OK || is_flood(r)) {
            lose(r, e != ERR_OK ? "what the relay sent made no sense" : "the relay says too much");
            return;
        }
        (void)evbuffer_drain(in, len - s.len);
        await_rest(r, 0);
        take_frame(r, &f);
    }
}

static void on_read(struct bufferevent *bev, void *arg)
{
    (void)bev;
    read_frames(arg);
}

static void send_ticket(struct relayclient *r)
{
    uint8_t frame[RELAYFRAME_MAX];
    send_frame(
        r, frame,
        relayframe_write(frame, RELAYFRAME_TICKET, r->grant.ticket, strlen(r->grant.ticket)));
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    struct relayclient *r = arg;
    if ((what & BEV_EVENT_CONNECTED) != 0)
        send_ticket(r);
    else if (r->state == STATE_GREET && bufferevent_get_openssl_error(bev) != 0)
        lose(r, "the connection was refused, or is not with our relay");
    else
        lose(r, "the connection was lost");
}

/* ---- connecting ------------------------------------------------------------------------------ */

/* In place of roots and dates: the relay is whoever proves the key whose id the service named. */
static int check_relay(X509_STORE_CTX *ctx, void *arg)
{
    const struct relayclient *r = arg;
    X509 *cert = X509_STORE_CTX_get0_cert(ctx);
    EVP_PKEY *key = cert != NULL ? X509_get0_pubkey(cert) : NULL;
    struct devid id;
    bool good =
        key != NULL && devid_from_key(&id, key) == ERR_OK && strcmp(id.text, r->grant.id.text) == 0;
    X509_STORE_CTX_set_error(ctx, good ? X509_V_OK : X509_V_ERR_CERT_UNTRUSTED);
    return good;
}

static enum err make_tls(struct relayclient *r)
{
    const struct identity *id = r->o.identity;
    ERR_clear_error();
    r->tls = SSL_CTX_new(TLS_client_method());
    if (r->tls == NULL)
        return ERR_NOMEM;
    SSL_CTX_set_verify(r->tls, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(r->tls, check_relay, r);
    (void)SSL_CTX_set_mode(r->tls, SSL_MODE_RELEASE_BUFFERS);
    (void)SSL_CTX_set_session_cache_mode(r->tls, SSL_SESS_CACHE_OFF);
    return SSL_CTX_set_min_proto_version(r->tls, TLS1_3_VERSION) == 1 &&
                   SSL_CTX_use_certificate(r->tls, id->cert) == 1 &&
                   SSL_CTX_use_PrivateKey(r->tls, id->key) == 1 &&
                   SSL_CTX_set_alpn_protos(r->tls, ALPN, sizeof ALPN - 1) == 0
               ? ERR_OK
               : ERR_CRYPTO;
}

static enum err open_control(struct relayclient *r, int fd)
{
    uint16_t port = htons(r->grant.data_port);
    SSL *ssl = SSL_new(r->tls);
    r->at.len = sizeof r->at.ss;
    if (ssl == NULL || evutil_make_socket_nonblocking(fd) != 0 ||
        getpeername(fd, (struct sockaddr *)&r->at.ss, &r->at.len) != 0) {
        SSL_free(ssl);
        close(fd);
        return ERR_IO;
    }
    /* the port is at one place in both families */
    memcpy((uint8_t *)&r->at.ss + offsetof(struct sockaddr_in, sin_port), &port, sizeof port);
    r->bev = bufferevent_openssl_socket_new(loop_base(r->loop), fd, ssl, BUFFEREVENT_SSL_CONNECTING,
                                            BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
    if (r->bev == NULL) {
        SSL_free(ssl);
        close(fd);
        return ERR_NOMEM;
    }
    bufferevent_setcb(r->bev, on_read, NULL, on_event, r);
    return bufferevent_enable(r->bev, EV_READ | EV_WRITE) == 0 ? ERR_OK : ERR_NOMEM;
}

static void on_connected(void *arg, const struct fetch_result *res)
{
    struct relayclient *r = arg;
    r->op = NULL;
    if (res->e != ERR_OK) {
        log_debug("relay %s: %s", r->grant.name, res->info.text);
        lose(r, "no connection");
    } else if (open_control(r, res->fd) != ERR_OK) {
        lose(r, "the connection could not be used");
    } else {
        set_state(r, STATE_GREET);
        loop_timer_set(r->timer, GREETING_MS);
    }
}

static void connect_relay(struct relayclient *r)
{
    set_state(r, STATE_CONNECT);
    r->second_ms = 0; /* what came by another connection does not count */
    loop_timer_set(r->timer, CONNECT_MS + 1000); /* the exchange has a limit of its own */
    if (fetch_connect(r->o.pool, r->grant.control, CONNECT_MS, on_connected, r, &r->op) != ERR_OK) {
        r->op = NULL;
        lose(r, "no connection");
    }
}

enum err relayclient_new(struct relayclient **out, struct loop *l,
                         const struct relayclient_options *o)
{
    struct relayclient *r = calloc(1, sizeof *r);
    if (r == NULL)
        return ERR_NOMEM;
    r->loop = l;
    r->o = *o;
    LIST_INIT(&r->dials);
    enum err e = loop_timer_new(&r->timer, l, on_timer, r);
    if (e == ERR_OK)
        e = make_tls(r);
    if (e != ERR_OK) {
        relayclient_free(r);
        return e;
    }
    *out = r;
    return ERR_OK;
}

void relayclient_use(struct relayclient *r, const struct relaygrant *grant)
{
    if (grant == NULL) {
        drop(r);
        if (r->state != STATE_OFF)
            set_state(r, STATE_OFF);
        return;
    }
    bool same = r->state != STATE_OFF && relaygrant_same(&r->grant, grant);
    r->grant = *grant;
    if (same && r->state == STATE_UP)
        send_ticket(r);
    if (same)
        return;
    drop(r);
    r->attempts = 0;
    r->asked_ms = 0; /* that was about another one */
    connect_relay(r);
}

json_t *relayclient_to_json(const struct relayclient *r)
{
    if (r->state == STATE_OFF)
        return json_null();
    return json_pack("{ss ss sb sI sI ss*}", "name", r->grant.name, "url", r->grant.url,
                     "connected", r->state == STATE_UP, "since", (json_int_t)r->since_at, "clients",
                     (json_int_t)r->n_clients, "why", r->why[0] != 0 ? r->why : NULL);
}

void relayclient_free(struct relayclient *r)
{
    if (r == NULL)
        return;
    drop(r);
    loop_timer_free(r->timer);
    SSL_CTX_free(r->tls);
    free(r);
}
