#include "provisiond/relay/control.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <openssl/err.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "provisiond/relay/circuit.h"

#define HANDSHAKE_MS 10000     /* with the first ticket */
#define DISMISS_MS 2000        /* for the last frame to go out */
#define EXPIRED_GRACE_S 600    /* a device whose renewal is late */
#define OUTPUT_MAX (32 * 1024) /* bytes that a device does not take */
#define UNHEARD_MS 30000       /* for the network to take what was written */
#define DEAD_S 900             /* a probe after so long a silence */

/* Frames of a device, not counting the burst: it has to answer for many clients at once. */
static const struct gcra_rate FRAMES = { .interval_ms = 50, .burst = 400 };

struct control {
    TAILQ_ENTRY(control) entry;
    struct hub *hub;
    struct bufferevent *bev;
    SSL *ssl;                 /* the bufferevent's */
    struct loop_timer *timer; /* the end of the handshake, of the ticket, of the connection */
    struct devid id;
    struct device *device; /* NULL before a good ticket */
    int64_t frame_tat, expires_at;
    bool dismissed;
    struct prefix prefix;
};

static void send_frame(struct control *c, const uint8_t *bytes, size_t len)
{
    if (bufferevent_write(c->bev, bytes, len) != 0 ||
        evbuffer_get_length(bufferevent_get_output(c->bev)) > OUTPUT_MAX) {
        c->dismissed = true;
        loop_timer_set(c->timer, 0);
    }
}

/* Clients that wait for it would wait in vain. */
static void lose_device(struct control *c)
{
    struct device *dev = c->device;
    if (dev == NULL)
        return;
    c->device = NULL;
    dev->control = NULL;
    c->hub->n_devices--;
    circuit_end_waiting(dev);
    devices_release(dev);
}

void control_dismiss(struct control *c, enum relayframe_reason reason)
{
    uint8_t frame[RELAYFRAME_MAX];
    lose_device(c); /* of one on its way out as well: its device may have come back */
    if (c->dismissed)
        return;
    c->dismissed = true;
    loop_timer_set(c->timer, DISMISS_MS);
    send_frame(c, frame, relayframe_write_goodbye(frame, reason));
}

/* ---- what the device says -------------------------------------------------------------------- */

static int64_t ticket_left_ms(const struct control *c)
{
    return (c->expires_at + EXPIRED_GRACE_S - clock_now_s()) * 1000;
}

static void welcome(struct control *c)
{
    uint8_t frame[RELAYFRAME_MAX];
    loop_timer_set(c->timer, ticket_left_ms(c));
    send_frame(c, frame, relayframe_write_welcome(frame, (uint16_t)c->hub->config->keepalive_s));
}

/* Makes `c` the connection of its device. The one it had before has lost its way, as a rule: the
 * device knows of this one only. */
static void enter(struct control *c)
{
    struct hub *h = c->hub;
    struct device *dev = devices_find(h->devices, &c->id);
    bool again = dev != NULL && dev->control != NULL; /* takes its own place */
    if ((!again && h->n_devices >= (size_t)h->config->devices_max) ||
        devices_get(&dev, h->devices, &c->id) != ERR_OK) {
        control_dismiss(c, RELAYFRAME_FULL);
        return;
    }
    if (again) {
        dev->n_circuits++; /* keeps it meanwhile */
        control_dismiss(dev->control, RELAYFRAME_REPLACED);
        dev->n_circuits--;
    }
    dev->control = c;
    c->device = dev;
    h->n_devices++;
    log_debug("device %s is here", c->id.text);
    welcome(c);
}

static void take_ticket(struct control *c, struct span text)
{
    const struct relayconf *conf = c->hub->config;
    enum err e =
        relayticket_check(&conf->keys, conf->name, &c->id, text, clock_now_s(), &c->expires_at);
    metric_add(e == ERR_OK ? &c->hub->counts.tickets : &c->hub->counts.tickets_refused, 1);
    if (e != ERR_OK) {
        log_debug("device %s: ticket refused: %s", c->id.text, err_name(e));
        control_dismiss(c, e == ERR_TIMEOUT ? RELAYFRAME_TICKET_OLD : RELAYFRAME_TICKET_BAD);
    } else if (c->hub->draining) {
        control_dismiss(c, RELAYFRAME_STOPPING);
    } else if (c->device == NULL) {
        enter(c);
    } else {
        welcome(c);
    }
}

static void take_decline(struct control *c, struct span body)
{
    uint32_t slot;
    if (relayframe_read_decline(&slot, body) != ERR_OK)
        return;
    struct circuit *waiting = slots_owner(c->hub->slots, slot);
    if (waiting != NULL && c->device != NULL && circuit_waits_for(waiting, c->device))
        circuit_end(waiting, HUB_DECLINED);
}

static void take_frame(struct control *c, const struct relayframe *f)
{
    if (gcra_take(&c->frame_tat, &FRAMES, clock_mono_ms()) > 0)
        control_dismiss(c, RELAYFRAME_PROTOCOL);
    else if (f->kind == RELAYFRAME_TICKET)
        take_ticket(c, f->body);
    else if (f->kind == RELAYFRAME_DECLINE)
        take_decline(c, f->body);
}

static void read_frames(struct control *c)
{
    struct evbuffer *in = bufferevent_get_input(c->bev);
    while (!c->dismissed) {
        size_t len = evbuffer_get_length(in);
        if (len > RELAYFRAME_MAX)
            len = RELAYFRAME_MAX;
        const uint8_t *p = evbuffer_pullup(in, (ev_ssize_t)len);
        struct span s = { p, p != NULL ? len : 0 };
        struct relayframe f;
        enum err e = relayframe_take(&f, &s);
        if (e == ERR_AGAIN)
            return;
        if (e != ERR_OK) {
            control_dismiss(c, RELAYFRAME_PROTOCOL);
            return;
        }
        take_frame(c, &f);
        (void)evbuffer_drain(in, len - s.len);
    }
    (void)evbuffer_drain(in, evbuffer_get_length(in));
}

/* ---- the connection -------------------------------------------------------------------------- */

static void finish_handshake(struct control *c)
{
    X509 *cert = SSL_get0_peer_certificate(c->ssl);
    EVP_PKEY *key = cert != NULL ? X509_get0_pubkey(cert) : NULL;
    const unsigned char *alpn = NULL;
    unsigned alpn_len = 0;
    SSL_get0_alpn_selected(c->ssl, &alpn, &alpn_len);
    if (key == NULL || devid_from_key(&c->id, key) != ERR_OK || alpn_len == 0) {
        metric_add(&c->hub->counts.controls_failed, 1);
        control_free(c);
        return;
    }
    metric_add(&c->hub->counts.controls, 1);
}

static void on_read(struct bufferevent *bev, void *arg)
{
    (void)bev;
    read_frames(arg);
}

/* The last frame is out: the device closes, or the timer does. */
static void on_written(struct bufferevent *bev, void *arg)
{
    const struct control *c = arg;
    if (c->dismissed)
        (void)shutdown(bufferevent_getfd(bev), SHUT_WR);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    struct control *c = arg;
    (void)bev;
    if ((what & BEV_EVENT_CONNECTED) != 0) {
        finish_handshake(c);
        return;
    }
    if (c->id.text[0] == 0)
        metric_add(&c->hub->counts.controls_failed, 1);
    control_free(c);
}

/* No ticket in time; its ticket has expired; or its last frame has had its time. */
static void on_timer(void *arg)
{
    struct control *c = arg;
    if (c->dismissed || c->device == NULL)
        control_free(c);
    else if (ticket_left_ms(c) > 0) /* a timer is a day at most */
        loop_timer_set(c->timer, ticket_left_ms(c));
    else
        control_dismiss(c, RELAYFRAME_TICKET_OLD);
}

/* The device keeps the way open (see keepalive_s): this is for one that was switched off. */
static void watch_peer(int fd)
{
    int on = 1, idle_s = DEAD_S, every_s = 30, tries = 4, unheard_ms = UNHEARD_MS;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof every_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &tries, sizeof tries);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unheard_ms, sizeof unheard_ms);
}

static enum err open_tls(struct control *c, int fd)
{
    SSL *ssl = SSL_new(c->hub->tls);
    if (ssl == NULL)
        return ERR_NOMEM;
    watch_peer(fd);
    c->bev =
        bufferevent_openssl_socket_new(loop_base(c->hub->loop), fd, ssl, BUFFEREVENT_SSL_ACCEPTING,
                                       BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
    if (c->bev == NULL) {
        SSL_free(ssl);
        return ERR_NOMEM;
    }
    c->ssl = ssl;
    bufferevent_setcb(c->bev, on_read, on_written, on_event, c);
    return bufferevent_enable(c->bev, EV_READ | EV_WRITE) == 0 ? ERR_OK : ERR_NOMEM;
}

static void refuse(struct hub *h, int fd)
{
    metric_add(&h->counts.controls_refused, 1);
    close(fd);
}

void control_start(struct hub *h, int fd, const struct addr *peer)
{
    struct prefix prefix = prefix_of((const struct sockaddr *)&peer->ss);
    const struct relayconf *conf = h->config;
    /* half as many again: those in their handshake, and those that are replaced */
    if (h->n_controls >= (size_t)(conf->devices_max + conf->devices_max / 2 + 16) ||
        prefixes_take(h->peers, &prefix, (size_t)conf->devices_per_prefix, clock_mono_ms()) !=
            ERR_OK) {
        refuse(h, fd);
        return;
    }
    struct control *c = calloc(1, sizeof *c);
    if (c == NULL) {
        prefixes_give(h->peers, &prefix);
        refuse(h, fd);
        return;
    }
    c->hub = h;
    c->prefix = prefix;
    TAILQ_INSERT_TAIL(&h->controls, c, entry);
    h->n_controls++;
    if (loop_timer_new(&c->timer, h->loop, on_timer, c) != ERR_OK || open_tls(c, fd) != ERR_OK) {
        if (c->bev == NULL)
            close(fd);
        control_free(c);
        return;
    }
    loop_timer_set(c->timer, HANDSHAKE_MS);
}

void control_dial(struct control *c, const struct relayframe_dial *dial)
{
    uint8_t frame[RELAYFRAME_MAX];
    size_t len = relayframe_write_dial(frame, dial);
    send_frame(c, frame, len);
    explicit_bzero(frame, len);
}

struct control *control_next(const struct control *c)
{
    return TAILQ_NEXT(c, entry);
}

void control_free(struct control *c)
{
    struct hub *h = c->hub;
    lose_device(c);
    if (c->bev != NULL) {
        SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
        bufferevent_free(c->bev);
    }
    ERR_clear_error();
    loop_timer_free(c->timer);
    prefixes_give(h->peers, &c->prefix);
    TAILQ_REMOVE(&h->controls, c, entry);
    h->n_controls--;
    free(c);
}
