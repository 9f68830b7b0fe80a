#include "provisiond/relay/dialback.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "common/base/clock.h"
#include "provisiond/relay/circuit.h"

#define DIALBACKS_MAX 4096 /* at once that have not shown it all yet */
#define SHOW_MS 5000       /* for all bytes of a secret */

struct dialback {
    TAILQ_ENTRY(dialback) entry;
    struct hub *hub;
    int fd;
    struct event ev;
    struct prefix prefix;
    int64_t until_ms;
    size_t len;
    uint8_t bytes[RELAYFRAME_DATA_LEN];
};

static void refuse(struct dialback *d)
{
    metric_add(&d->hub->counts.dials_refused, 1);
    dialback_free(d);
}

static void join(struct dialback *d)
{
    struct relayframe_key key;
    struct circuit *c = NULL;
    if (relayframe_read_data(&key, d->bytes) == ERR_OK)
        c = slots_take(d->hub->slots, &key);
    explicit_bzero(&key, sizeof key);
    if (c == NULL) {
        refuse(d);
        return;
    }
    struct hub *h = d->hub;
    int fd = d->fd;
    if (event_initialized(&d->ev))
        (void)event_del(&d->ev); /* before somebody else watches the socket */
    d->fd = -1;
    dialback_free(d);
    metric_add(&h->counts.dials, 1);
    circuit_join(c, fd);
}

/* Exactly as many bytes as it has to show: what follows is the client's. False when they are not
 * all here; otherwise `d` is gone. */
static bool read_key(struct dialback *d)
{
    ssize_t n = recv(d->fd, d->bytes + d->len, sizeof d->bytes - d->len, MSG_DONTWAIT);
    if (n > 0)
        d->len += (size_t)n;
    if (n > 0 && d->len == sizeof d->bytes)
        join(d);
    else if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        refuse(d);
    else
        return false;
    return true;
}

/* For the time that is left, however the bytes drip in. */
static void wait_for_key(struct dialback *d)
{
    int64_t left_ms = d->until_ms - clock_mono_ms();
    struct timeval limit = { .tv_sec = left_ms / 1000, .tv_usec = left_ms % 1000 * 1000 };
    if (left_ms <= 0 || event_add(&d->ev, &limit) != 0)
        refuse(d);
}

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
    struct dialback *d = arg;
    (void)fd;
    if ((what & EV_TIMEOUT) != 0)
        refuse(d);
    else if (!read_key(d))
        wait_for_key(d);
}

void dialback_start(struct hub *h, int fd, const struct addr *peer)
{
    struct prefix prefix = prefix_of((const struct sockaddr *)&peer->ss);
    struct dialback *d = NULL;
    if (h->n_dialbacks == DIALBACKS_MAX) /* those who mean it show theirs at once */
        refuse(TAILQ_FIRST(&h->dialbacks));
    if (prefixes_take(h->peers, &prefix, (size_t)h->config->devices_per_prefix, clock_mono_ms()) ==
        ERR_OK) {
        d = calloc(1, sizeof *d);
        if (d == NULL)
            prefixes_give(h->peers, &prefix);
    }
    if (d == NULL) {
        metric_add(&h->counts.dials_refused, 1);
        close(fd);
        return;
    }
    d->hub = h;
    d->fd = fd;
    d->prefix = prefix;
    d->until_ms = clock_mono_ms() + SHOW_MS;
    TAILQ_INSERT_TAIL(&h->dialbacks, d, entry);
    h->n_dialbacks++;
    if (read_key(d)) /* it is here already, as a rule */
        return;
    if (event_assign(&d->ev, loop_base(h->loop), fd, EV_READ, on_ready, d) != 0)
        refuse(d);
    else
        wait_for_key(d);
}

void dialback_free(struct dialback *d)
{
    struct hub *h = d->hub;
    if (event_initialized(&d->ev))
        (void)event_del(&d->ev);
    if (d->fd >= 0)
        close(d->fd);
    prefixes_give(h->peers, &d->prefix);
    TAILQ_REMOVE(&h->dialbacks, d, entry);
    h->n_dialbacks--;
    explicit_bzero(d->bytes, sizeof d->bytes);
    free(d);
}
