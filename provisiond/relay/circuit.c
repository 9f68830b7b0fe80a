#include "provisiond/relay/circuit.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "common/base/clock.h"
#include "common/base/secret.h"
#include "provisiond/relay/clienthello.h"
#include "provisiond/relay/control.h"
#include "provisiond/relay/flow.h"
#include "provisiond/relay/servername.h"

/* TLS alerts [RFC 8446 s6], so that a browser says at once that there is nobody. */
#define ALERT_INTERNAL_ERROR 80
#define ALERT_UNRECOGNIZED_NAME 112

enum phase { PHASE_HELLO, PHASE_DIAL, PHASE_COPY };

struct circuit {
    TAILQ_ENTRY(circuit) entry;
    LIST_ENTRY(circuit) waiting; /* while DIAL */
    struct hub *hub;
    struct turns_job job;
    struct flow_end client, device;
    struct flow up, down; /* client to device, device to client */
    struct event client_ev, device_ev, timer;
    int64_t began_ms, active_ms;
    struct device *owner; /* NULL before DIAL */
    uint32_t slot;        /* while DIAL */
    uint8_t phase, zone;
    bool wants_more; /* than one byte, before it is woken */
    bool down_first; /* in this turn: the other way round in the next */
    struct prefix prefix;
};

static void end_with_alert(struct circuit *c, uint8_t alert, enum hub_end why)
{
    const uint8_t record[] = { 21, 3, 3, 0, 2, 2, alert };
    (void)send(c->client.fd, record, sizeof record, MSG_NOSIGNAL | MSG_DONTWAIT);
    /* what is not read at the close would turn it into a reset, which overtakes the alert */
    (void)recv(c->client.fd, NULL, CLIENTHELLO_MAX, MSG_TRUNC | MSG_DONTWAIT);
    circuit_end(c, why);
}

/* ---- the time that each phase has ------------------------------------------------------------ */

static int64_t phase_limit_ms(const struct circuit *c)
{
    const struct relayconf *conf = c->hub->config;
    switch (c->phase) {
    case PHASE_HELLO:
        return conf->hello_ms;
    case PHASE_DIAL:
        return conf->dial_ms;
    default:
        return c->up.eof || c->down.eof ? conf->half_ms : conf->idle_ms;
    }
}

/* Milliseconds until the phase or the circuit is over. */
static int64_t left_ms(const struct circuit *c, int64_t now_ms)
{
    int64_t phase = c->active_ms + phase_limit_ms(c) - now_ms;
    int64_t life = c->began_ms + c->hub->config->lifetime_ms - now_ms;
    return phase < life ? phase : life;
}

static void set_timer(struct circuit *c, int64_t now_ms)
{
    int64_t ms = left_ms(c, now_ms);
    if (ms < 0)
        ms = 0;
    struct timeval tv = { .tv_sec = (time_t)(ms / 1000),
                          .tv_usec = (suseconds_t)(ms % 1000 * 1000) };
    (void)evtimer_add(&c->timer, &tv);
}

static void set_phase(struct circuit *c, enum phase phase)
{
    c->phase = (uint8_t)phase;
    c->active_ms = clock_mono_ms();
    set_timer(c, c->active_ms);
}

static void on_time(struct circuit *c)
{
    int64_t now_ms = clock_mono_ms();
    if (left_ms(c, now_ms) > 0)
        set_timer(c, now_ms);
    else if (c->phase == PHASE_HELLO)
        circuit_end(c, HUB_NO_HELLO);
    else if (c->phase == PHASE_DIAL)
        end_with_alert(c, ALERT_INTERNAL_ERROR, HUB_NO_DIAL);
    else
        circuit_end(c,
                    now_ms - c->began_ms >= c->hub->config->lifetime_ms ? HUB_LIFETIME : HUB_IDLE);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    on_time(arg);
}

/* ---- HELLO ----------------------------------------------------------------------------------- */

/* The kernel wakes us when so many bytes are here. */
static void want_bytes(struct circuit *c, size_t n)
{
    int low = (int)n;
    if (n == 1 && !c->wants_more)
        return;
    c->wants_more = n > 1;
    (void)setsockopt(c->client.fd, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof low);
}

/* Whether the client has ended, or lost, its side. */
static bool is_gone(const struct circuit *c)
{
    struct pollfd p = { .fd = c->client.fd, .events = POLLRDHUP };
    return poll(&p, 1, 0) == 1 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

static enum err call_device(struct circuit *c)
{
    struct relayframe_dial dial = { .client = { .len = sizeof dial.client.ss },
                                    .relay = { .len = sizeof dial.relay.ss } };
    if (getpeername(c->client.fd, (struct sockaddr *)&dial.client.ss, &dial.client.len) != 0 ||
        getsockname(c->client.fd, (struct sockaddr *)&dial.relay.ss, &dial.relay.len) != 0)
        return ERR_IO;
    secret_random(dial.key.secret, sizeof dial.key.secret);
    enum err e = slots_put(c->hub->slots, &dial.key, c);
    if (e == ERR_OK) {
        c->slot = dial.key.slot;
        LIST_INSERT_HEAD(&c->owner->waiting, c, waiting);
        set_phase(c, PHASE_DIAL);
        control_dial(c->owner->control, &dial);
    }
    explicit_bzero(&dial, sizeof dial);
    return e;
}

static void find_device(struct circuit *c, const char *name)
{
    const struct relayconf *conf = c->hub->config;
    const struct gcra_rate rate = { .interval_ms = 1000 / conf->device_rate,
                                    .burst = conf->device_clients };
    struct devid id;
    size_t zone;
    if (servername_read(&id, &zone, name, conf->zones, conf->n_zones) != ERR_OK) {
        end_with_alert(c, ALERT_UNRECOGNIZED_NAME, HUB_NO_ZONE);
        return;
    }
    struct device *dev = devices_find(c->hub->devices, &id);
    if (dev == NULL || dev->control == NULL) {
        end_with_alert(c, ALERT_UNRECOGNIZED_NAME, HUB_AWAY);
        return;
    }
    if (dev->n_circuits >= (size_t)conf->device_clients ||
        gcra_take(&dev->dial_tat, &rate, c->active_ms) > 0) {
        end_with_alert(c, ALERT_INTERNAL_ERROR, HUB_LIMIT);
        return;
    }
    c->zone = (uint8_t)zone;
    c->owner = dev;
    dev->n_circuits++;
    enum err e = call_device(c);
    if (e != ERR_OK)
        end_with_alert(c, ALERT_INTERNAL_ERROR, e == ERR_LIMIT ? HUB_LIMIT : HUB_ABORTED);
}

/* Looks at what has come and leaves it there, for the device. */
static void read_hello(struct circuit *c)
{
    static _Thread_local uint8_t bytes[CLIENTHELLO_MAX]; /* never outlives the call */
    struct clienthello hello;
    ssize_t n = recv(c->client.fd, bytes, sizeof bytes, MSG_PEEK | MSG_DONTWAIT);
    if (n <= 0) {
        if (n == 0 || (errno != EAGAIN && errno != EINTR))
            circuit_end(c, HUB_NO_HELLO);
        return;
    }
    switch (clienthello_read(&hello, (struct span){ bytes, (size_t)n })) {
    case CLIENTHELLO_NAME:
        want_bytes(c, 1);
        find_device(c, hello.name);
        break;
    case CLIENTHELLO_MORE:
        want_bytes(c, hello.need);
        if (is_gone(c))
            circuit_end(c, HUB_NO_HELLO);
        break;
    default:
        circuit_end(c, HUB_NO_HELLO);
    }
}

/* ---- COPY ------------------------------------------------------------------------------------ */

static void wake(struct circuit *c)
{
    hub_wake(c->hub, &c->owner->member, &c->job);
}

/* One direction may use the whole turn: then the other one is first in the next. */
static bool run(struct circuit *c, size_t budget, size_t *moved)
{
    struct hub *h = c->hub;
    size_t left = budget, bytes[2] = { 0 }, some; /* up, down */
    bool eof = c->up.eof || c->down.eof, broken = false;
    int still = 0; /* directions in a row that had nothing to move */
    for (int way = c->down_first; still < 2 && left > 0 && !broken; way = !way) {
        enum flow_step s =
            way == 0 ? flow_move(&c->up, &c->client, &c->device, &h->pipes, left, &some)
                     : flow_move(&c->down, &c->device, &c->client, &h->pipes, left, &some);
        bytes[way] += some;
        left -= some < left ? some : left;
        still = s == FLOW_BLOCKED ? still + 1 : 0;
        broken = s == FLOW_BROKEN;
    }
    c->down_first = !c->down_first;
    *moved = bytes[0] + bytes[1];
    metric_add(&h->counts.up[c->zone], bytes[0]);
    metric_add(&h->counts.down[c->zone], bytes[1]);
    if (c->up.shut && c->down.shut) {
        circuit_end(c, HUB_DONE);
        return false;
    }
    if (broken) {
        circuit_end(c, HUB_ABORTED);
        return false;
    }
    if (*moved > 0)
        c->active_ms = clock_mono_ms();
    if (!eof && (c->up.eof || c->down.eof))
        set_timer(c, c->active_ms);
    return left == 0;
}

bool circuit_run(struct turns_job *job, size_t budget, size_t *moved)
{
    return run((struct circuit *)(void *)((char *)job - offsetof(struct circuit, job)), budget,
               moved);
}

static void note(struct flow_end *end, short what)
{
    end->readable |= (what & EV_READ) != 0;
    end->writable |= (what & EV_WRITE) != 0;
}

static void on_client_ready(struct circuit *c, short what)
{
    note(&c->client, what);
    if (c->phase == PHASE_COPY)
        wake(c);
    else if (c->phase == PHASE_DIAL && is_gone(c))
        circuit_end(c, HUB_ABORTED);
    else if (c->phase == PHASE_HELLO && (what & EV_READ) != 0)
        read_hello(c);
}

static void on_client(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    on_client_ready(arg, what);
}

static void on_device(evutil_socket_t fd, short what, void *arg)
{
    struct circuit *c = arg;
    (void)fd;
    note(&c->device, what);
    wake(c);
}

static bool watch(struct circuit *c, struct event *ev, int fd, event_callback_fn fn)
{
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return event_assign(ev, loop_base(c->hub->loop), fd, EV_READ | EV_WRITE | EV_ET | EV_PERSIST,
                        fn, c) == 0 &&
           event_add(ev, NULL) == 0;
}

void circuit_join(struct circuit *c, int fd)
{
    struct hub_counts *n = &c->hub->counts;
    c->device = (struct flow_end){ .fd = fd, .readable = true, .writable = true };
    c->client.readable = c->client.writable = true;
    LIST_REMOVE(c, waiting);
    metric_observe(&n->dial_ms, clock_mono_ms() - c->active_ms);
    set_phase(c, PHASE_COPY);
    if (watch(c, &c->device_ev, fd, on_device))
        wake(c);
    else
        circuit_end(c, HUB_ABORTED);
}

bool circuit_waits_for(const struct circuit *c, const struct device *dev)
{
    return c->phase == PHASE_DIAL && c->owner == dev;
}

void circuit_end_waiting(struct device *dev)
{
    struct circuit *c;
    dev->n_circuits++; /* keeps the device until all of them have left it */
    while ((c = LIST_FIRST(&dev->waiting)) != NULL)
        end_with_alert(c, ALERT_INTERNAL_ERROR, HUB_NO_DIAL);
    dev->n_circuits--;
}

/* ---- its beginning and end ------------------------------------------------------------------- */

void circuit_start(struct hub *h, int fd, const struct addr *peer)
{
    const struct relayconf *conf = h->config;
    int64_t now_ms = clock_mono_ms();
    struct prefix prefix = prefix_of((const struct sockaddr *)&peer->ss);
    metric_add(&h->counts.clients, 1);
    struct circuit *c = NULL;
    if (h->n_circuits < h->clients_max &&
        prefixes_take(h->clients, &prefix, (size_t)conf->clients_per_prefix, now_ms) == ERR_OK) {
        c = calloc(1, sizeof *c);
        if (c == NULL)
            prefixes_give(h->clients, &prefix);
    }
    if (c == NULL) {
        metric_add(&h->counts.clients_refused, 1);
        close(fd);
        return;
    }
    c->hub = h;
    c->prefix = prefix;
    c->client.fd = fd;
    c->device.fd = -1;
    c->began_ms = now_ms;
    TAILQ_INSERT_TAIL(&h->circuits, c, entry);
    h->n_circuits++;
    (void)evtimer_assign(&c->timer, loop_base(h->loop), on_timer, c);
    set_phase(c, PHASE_HELLO);
    if (!watch(c, &c->client_ev, fd, on_client)) {
        circuit_end(c, HUB_ABORTED);
        return;
    }
    read_hello(c); /* it is here already, as a rule */
}

void circuit_end(struct circuit *c, enum hub_end why)
{
    struct hub *h = c->hub;
    if (c->phase == PHASE_DIAL) {
        LIST_REMOVE(c, waiting);
        slots_drop(h->slots, c->slot);
    }
    if (c->owner != NULL) {
        turns_remove(&h->turns, &c->owner->member, &c->job);
        c->owner->n_circuits--;
        devices_release(c->owner);
    }
    if (event_initialized(&c->client_ev))
        (void)event_del(&c->client_ev);
    if (event_initialized(&c->device_ev))
        (void)event_del(&c->device_ev);
    (void)evtimer_del(&c->timer);
    flow_clear(&c->up, &h->pipes);
    flow_clear(&c->down, &h->pipes);
    close(c->client.fd);
    if (c->device.fd >= 0)
        close(c->device.fd);
    prefixes_give(h->clients, &c->prefix);
    TAILQ_REMOVE(&h->circuits, c, entry);
    h->n_circuits--;
    metric_add(&h->counts.ended[why], 1);
    free(c);
}
