#include "provisiond/relay/exposition.h"

#include "common/base/attr.h"

static const char *const ENDS[HUB_END_N] = {
    [HUB_DONE] = "done",       [HUB_NO_HELLO] = "no_hello", [HUB_NO_ZONE] = "no_zone",
    [HUB_AWAY] = "away",       [HUB_LIMIT] = "limit",       [HUB_DECLINED] = "declined",
    [HUB_NO_DIAL] = "no_dial", [HUB_IDLE] = "idle",         [HUB_LIFETIME] = "lifetime",
    [HUB_ABORTED] = "aborted", [HUB_STOPPED] = "stopped",
};

static void put_gauges(struct buf *out, const struct hub *h)
{
    const struct {
        const char *name, *help;
        size_t value;
    } ALL[] = {
        { "lanyard_relay_connections", "Clients being served.", h->n_circuits },
        { "lanyard_relay_devices", "Devices with a control connection.", h->n_devices },
        { "lanyard_relay_controls", "Control connections, those without a ticket yet included.",
          h->n_controls },
        { "lanyard_relay_pipes", "Pipes, those kept for the next connection included.",
          h->pipes.n_open },
    };
    for (size_t i = 0; i < ARRAY_LEN(ALL); i++) {
        metric_put_head(out, ALL[i].name, "gauge", ALL[i].help);
        metric_put(out, ALL[i].name, NULL, 0, ALL[i].value);
    }
}

static void put_counters(struct buf *out, const struct hub_counts *n)
{
    const struct {
        const char *name, *help;
        const struct metric *value;
    } ALL[] = {
        { "lanyard_relay_accepted_total", "Connections of clients.", &n->clients },
        { "lanyard_relay_refused_total", "Of these, closed at once for the limits of a network.",
          &n->clients_refused },
        { "lanyard_relay_controls_total", "Control connections that proved a key.", &n->controls },
        { "lanyard_relay_controls_failed_total", "Control connections that proved none.",
          &n->controls_failed },
        { "lanyard_relay_controls_refused_total",
          "Control connections closed at once for the limits.", &n->controls_refused },
        { "lanyard_relay_tickets_total", "Tickets accepted.", &n->tickets },
        { "lanyard_relay_tickets_refused_total", "Tickets refused.", &n->tickets_refused },
        { "lanyard_relay_dials_total", "Data connections joined to a client.", &n->dials },
        { "lanyard_relay_dials_refused_total",
          "Data connections with a wrong, late or used secret, or none.", &n->dials_refused },
    };
    for (size_t i = 0; i < ARRAY_LEN(ALL); i++) {
        metric_put_head(out, ALL[i].name, "counter", ALL[i].help);
        metric_put(out, ALL[i].name, NULL, 0, metric_get(ALL[i].value));
    }
}

static void put_bytes(struct buf *out, const struct hub *h)
{
    static const char NAME[] = "lanyard_relay_bytes_total";
    metric_put_head(out, NAME, "counter", "Bytes passed on: up is to the device.");
    for (size_t i = 0; i < h->config->n_zones; i++) {
        struct metric_label labels[] = { { "zone", h->config->zones[i] }, { "direction", "up" } };
        metric_put(out, NAME, labels, 2, metric_get(&h->counts.up[i]));
        labels[1].value = "down";
        metric_put(out, NAME, labels, 2, metric_get(&h->counts.down[i]));
    }
}

void exposition_write(struct buf *out, const struct hub *h)
{
    put_gauges(out, h);
    put_counters(out, &h->counts);
    metric_put_head(out, "lanyard_relay_ended_total", "counter", "Clients' connections, by end.");
    for (size_t i = 0; i < HUB_END_N; i++) {
        struct metric_label label = { "why", ENDS[i] };
        metric_put(out, "lanyard_relay_ended_total", &label, 1, metric_get(&h->counts.ended[i]));
    }
    put_bytes(out, h);
    metric_put_head(out, "lanyard_relay_dial_seconds", "histogram",
                    "From a client's hello to the data connection of its device.");
    metric_put_histogram(out, "lanyard_relay_dial_seconds", NULL, 0, &h->counts.dial_ms, METRIC_MS);
}
