#include "provisiond/relay/hub.h"

#include <stddef.h>

#include <event2/event.h>

#include "common/base/clock.h"
#include "provisiond/relay/circuit.h"
#include "provisiond/relay/control.h"
#include "provisiond/relay/dialback.h"
#include "provisiond/relay/fdlimit.h"

#define TURNS_PER_CALL 16 /* before the sockets are looked at again */
#define BURST_S 4         /* seconds of a rate that may come at once */

static struct device *device_of(struct turns_member *m)
{
    return (struct device *)(void *)((char *)m - offsetof(struct device, member));
}

static void pump(struct hub *h)
{
    struct turns_member *m;
    size_t budget, moved;
    int64_t wait_us = 0, now_us = clock_mono_us();
    for (int i = 0; i < TURNS_PER_CALL; i++) {
        struct turns_job *job = turns_next(&h->turns, now_us, &m, &budget, &wait_us);
        if (job == NULL) {
            if (wait_us >= 0)
                loop_timer_set(h->rest, wait_us / 1000 + 1);
            return;
        }
        struct device *dev = device_of(m);
        dev->n_circuits++; /* keeps it when its last circuit ends in this turn */
        if (circuit_run(job, budget, &moved))
            turns_add(&h->turns, m, job);
        turns_used(&h->turns, m, moved, now_us);
        dev->n_circuits--;
        devices_release(dev);
    }
    loop_timer_set(h->rest, 0);
}

static void on_pump(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    pump(arg);
}

static void on_rest_over(void *arg)
{
    pump(arg);
}

void hub_wake(struct hub *h, struct turns_member *m, struct turns_job *job)
{
    if (job->queued)
        return;
    turns_add(&h->turns, m, job);
    event_active(h->pump, EV_READ, 0);
}

static struct gcra_rate rate_of(int64_t per_s)
{
    return (struct gcra_rate){ .interval_ms = 1000 / per_s, .burst = per_s * BURST_S };
}

enum err hub_init(struct hub *h, struct loop *l, const struct relayconf *config, SSL_CTX *tls)
{
    *h = (struct hub){ .loop = l, .config = config, .tls = tls };
    TAILQ_INIT(&h->circuits);
    TAILQ_INIT(&h->controls);
    TAILQ_INIT(&h->dialbacks);
    turns_init(&h->turns);
    h->clients_max = fdlimit_clients(config);
    h->pump = event_new(loop_base(l), -1, 0, on_pump, h);
    enum err e = h->pump == NULL ? ERR_NOMEM : loop_timer_new(&h->rest, l, on_rest_over, h);
    if (e == ERR_OK)
        e = devices_new(&h->devices);
    if (e == ERR_OK)
        e = slots_new(&h->slots, h->clients_max);
    if (e == ERR_OK)
        e = prefixes_new(&h->clients, rate_of(config->client_rate));
    if (e == ERR_OK) /* devices come back all at once, and from behind few addresses */
        e = prefixes_new(&h->peers, rate_of(1000));
    if (e == ERR_OK)
        hub_set_config(h, config);
    else
        hub_clear(h);
    return e;
}

void hub_set_config(struct hub *h, const struct relayconf *config)
{
    h->config = config;
    turns_set_pace(&h->turns, config->bytes_per_s, config->device_bytes_per_s);
    prefixes_set_rate(h->clients, rate_of(config->client_rate));
}

void hub_clear(struct hub *h)
{
    while (!TAILQ_EMPTY(&h->dialbacks))
        dialback_free(TAILQ_FIRST(&h->dialbacks));
    while (!TAILQ_EMPTY(&h->circuits))
        circuit_end(TAILQ_FIRST(&h->circuits), HUB_STOPPED);
    while (!TAILQ_EMPTY(&h->controls))
        control_free(TAILQ_FIRST(&h->controls));
    pipes_clear(&h->pipes);
    prefixes_free(h->clients);
    prefixes_free(h->peers);
    slots_free(h->slots);
    devices_free(h->devices);
    loop_timer_free(h->rest);
    if (h->pump != NULL)
        event_free(h->pump);
    *h = (struct hub){ .loop = NULL };
}
