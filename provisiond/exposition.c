#include "provisiond/exposition.h"

#include <stddef.h>

static void put_one(struct buf *out, const char *name, const char *type, const char *help,
                    uint64_t value)
{
    metric_put_head(out, name, type, help);
    metric_put(out, name, NULL, 0, value);
}

static void put_listeners(struct buf *out, const struct exposition *e)
{
    static const struct {
        const char *name, *type, *help;
        size_t at;
    } ROWS[] = {
        { "lanyard_provisiond_connections", "gauge", "Connections at present.",
          offsetof(struct httpd_counts, open) },
        { "lanyard_provisiond_connections_accepted_total", "counter", "Connections so far.",
          offsetof(struct httpd_counts, accepted) },
        { "lanyard_provisiond_connections_refused_total", "counter",
          "Connections closed at once: too many, or too many of one network.",
          offsetof(struct httpd_counts, refused) },
        { "lanyard_provisiond_tls_handshakes_total", "counter", "TLS handshakes.",
          offsetof(struct httpd_counts, handshakes) },
        { "lanyard_provisiond_tls_handshakes_failed_total", "counter",
          "TLS handshakes refused, broken off or too slow.",
          offsetof(struct httpd_counts, handshakes_failed) },
        { "lanyard_provisiond_http_requests_total", "counter", "Well-formed requests.",
          offsetof(struct httpd_counts, requests) },
        { "lanyard_provisiond_http_malformed_total", "counter",
          "Requests refused before their route was looked at: malformed, too large or too slow.",
          offsetof(struct httpd_counts, malformed) },
    };
    const struct {
        const char *name;
        const struct httpd_counts *counts;
    } LISTENERS[] = { { "device", e->device }, { "public", e->public_ } };
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        metric_put_head(out, ROWS[i].name, ROWS[i].type, ROWS[i].help);
        for (size_t k = 0; k < ARRAY_LEN(LISTENERS); k++) {
            const struct metric_label label = { "listener", LISTENERS[k].name };
            if (LISTENERS[k].counts == NULL)
                continue;
            const void *at = (const char *)LISTENERS[k].counts + ROWS[i].at;
            metric_put(out, ROWS[i].name, &label, 1, metric_get(at));
        }
    }
}

static void put_stores(struct buf *out, const struct exposition *e)
{
    static const char TOOK[] = "lanyard_provisiond_store_seconds";
    static const char GROUP[] = "lanyard_provisiond_store_group";
    static const char FAILED[] = "lanyard_provisiond_store_failed_total";
    const struct metric_label main_store = { "store", "main" }, values = { "store", "challenges" };
    metric_put_head(out, TOOK, "histogram",
                    "From a database job being queued to being done, the commit included.");
    metric_put_histogram(out, TOOK, &main_store, 1, &e->store->took_us, METRIC_US);
    metric_put_histogram(out, TOOK, &values, 1, &e->challenges->took_us, METRIC_US);
    metric_put_head(out, GROUP, "histogram", "Jobs that shared one transaction.");
    metric_put_histogram(out, GROUP, &main_store, 1, &e->store->group, METRIC_ONES);
    metric_put_head(out, FAILED, "counter", "Transactions that could not begin or commit.");
    metric_put(out, FAILED, &main_store, 1, metric_get(&e->store->failed));
}

static uint64_t breaker_state(const struct gate *g)
{
    return !g->breaker.open ? 0 : g->breaker.probing ? 2 : 1;
}

static void put_gates(struct buf *out, const struct exposition *e)
{
    static const char BREAKER[] = "lanyard_provisiond_issuer_breaker";
    static const char AT_ONCE[] = "lanyard_provisiond_issuer_orders_at_once";
    static const char IN_FLIGHT[] = "lanyard_provisiond_issuer_orders_in_flight";
    const struct gate *gates = engine_gates(e->engine);
    metric_put_head(out, BREAKER, "gauge",
                    "Whether a CA is asked: 0 it is, 1 it does not answer and is left alone, 2 one "
                    "request is trying it.");
    for (size_t i = 0; i < e->config->n_issuers; i++) {
        const struct metric_label label = { "issuer", e->config->issuers[i].name };
        metric_put(out, BREAKER, &label, 1, breaker_state(&gates[i]));
    }
    metric_put_head(out, AT_ONCE, "gauge", "Orders at once that a CA is believed to bear.");
    for (size_t i = 0; i < e->config->n_issuers; i++) {
        const struct metric_label label = { "issuer", e->config->issuers[i].name };
        metric_put(out, AT_ONCE, &label, 1, (uint64_t)gates[i].aimd.limit);
    }
    metric_put_head(out, IN_FLIGHT, "gauge", "Orders of this process at a CA.");
    for (size_t i = 0; i < e->config->n_issuers; i++) {
        const struct metric_label label = { "issuer", e->config->issuers[i].name };
        metric_put(out, IN_FLIGHT, &label, 1, (uint64_t)gates[i].in_flight);
    }
}

void exposition_write(struct buf *out, const struct exposition *e)
{
    static const struct metric_label VERSION = { "version", LANYARD_VERSION };
    metric_put_head(out, "lanyard_provisiond_build_info", "gauge", "The version, as a label.");
    metric_put(out, "lanyard_provisiond_build_info", &VERSION, 1, 1);
    put_one(out, "lanyard_provisiond_start_time_seconds", "gauge",
            "When it was started, Unix time.", (uint64_t)e->started_s);
    put_one(out, "lanyard_provisiond_reloads_total", "counter", "Reloads that were done.",
            e->reloads);
    put_one(out, "lanyard_provisiond_reloads_failed_total", "counter",
            "Reloads that failed: the old certificate, tag keys or relays stayed.",
            e->reloads_failed);
    put_one(out, "lanyard_provisiond_tls_certificate_not_before_seconds", "gauge",
            "When the listeners' certificate begins, Unix time.",
            (uint64_t)e->owncert->not_before_s);
    put_one(out, "lanyard_provisiond_tls_certificate_not_after_seconds", "gauge",
            "When the listeners' certificate ends, Unix time.", (uint64_t)e->owncert->not_after_s);
    put_listeners(out, e);
    api_write_metrics(e->api, out);
    discovery_write_metrics(e->discovery, out);
    orderstats_write(engine_stats(e->engine), e->config, out);
    put_gates(out, e);
    put_stores(out, e);
    fleetcount_write(e->fleet, out);
}
