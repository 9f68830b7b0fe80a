#include "provisiond/orderstats.h"

#include <string.h>

#define AWAY_REPLIES 3
#define AWAY_MS 600000

static const char *const VERDICTS[ORDERSTATS_VERDICTS] = {
    [ISSUER_OK] = "ok",          [ISSUER_RETRY] = "retry",         [ISSUER_HOLD] = "hold",
    [ISSUER_RESUME] = "resume",  [ISSUER_NEW_ORDER] = "new-order", [ISSUER_DEVICE] = "device",
    [ISSUER_HUMAN] = "operator", [ISSUER_PERMANENT] = "permanent",
};

void orderstats_reply(struct orderstats *s, size_t issuer, const struct issuer_reply *r,
                      int64_t now_ms)
{
    struct orderstats_issuer *is = &s->issuers[issuer];
    metric_add(&is->replies[r->verdict], 1);
    /* Boulder's and Pebble's words for a validation that only their other viewpoints refused */
    if (strcasestr(r->info.text, "secondary validation") != NULL)
        metric_add(&is->secondary, 1);
    if (r->verdict == ISSUER_RETRY || r->verdict == ISSUER_HUMAN) {
        is->bad_in_a_row++;
    } else {
        is->bad_in_a_row = 0;
        is->last_good_ms = now_ms;
    }
}

void orderstats_moved(struct orderstats *s, size_t issuer, enum order_state from,
                      enum order_state to, int64_t took_ms)
{
    struct orderstats_issuer *is = &s->issuers[issuer];
    metric_observe(&s->stage_ms[from], took_ms);
    if (to == ORDER_VALID)
        metric_add(&is->issued, 1);
    else if (to == ORDER_INVALID)
        metric_add(&is->refused, 1);
    else if (to == ORDER_QUEUED)
        metric_add(&is->lost, 1);
}

bool orderstats_is_away(const struct orderstats *s, size_t issuer, int64_t now_ms)
{
    const struct orderstats_issuer *is = &s->issuers[issuer];
    return is->bad_in_a_row >= AWAY_REPLIES &&
           (is->last_good_ms == 0 || now_ms - is->last_good_ms >= AWAY_MS);
}

static void put_outcomes(const struct orderstats *s, const struct config *c, struct buf *out)
{
    static const char NAME[] = "lanyard_provisiond_orders_total";
    metric_put_head(out, NAME, "counter", "Orders by what became of them, since the start.");
    for (size_t i = 0; i < c->n_issuers; i++) {
        const struct orderstats_issuer *is = &s->issuers[i];
        const struct {
            const char *outcome;
            const struct metric *n;
        } ROWS[] = { { "issued", &is->issued },
                     { "lost", &is->lost },
                     { "refused", &is->refused } };
        for (size_t k = 0; k < ARRAY_LEN(ROWS); k++) {
            const struct metric_label labels[] = { { "issuer", c->issuers[i].name },
                                                   { "outcome", ROWS[k].outcome } };
            metric_put(out, NAME, labels, ARRAY_LEN(labels), metric_get(ROWS[k].n));
        }
    }
}

static void put_replies(const struct orderstats *s, const struct config *c, struct buf *out)
{
    static const char NAME[] = "lanyard_provisiond_issuer_replies_total";
    metric_put_head(out, NAME, "counter",
                    "Replies of each CA, by what has to be done about them; ok is no trouble.");
    for (size_t i = 0; i < c->n_issuers; i++) {
        for (unsigned v = 0; v < ORDERSTATS_VERDICTS; v++) {
            const struct metric_label labels[] = { { "issuer", c->issuers[i].name },
                                                   { "class", VERDICTS[v] } };
            metric_put(out, NAME, labels, ARRAY_LEN(labels), metric_get(&s->issuers[i].replies[v]));
        }
    }
    static const char SECONDARY[] = "lanyard_provisiond_secondary_validation_failures_total";
    metric_put_head(out, SECONDARY, "counter",
                    "Validations that the CA's other viewpoints on the network refused.");
    for (size_t i = 0; i < c->n_issuers; i++) {
        const struct metric_label label = { "issuer", c->issuers[i].name };
        metric_put(out, SECONDARY, &label, 1, metric_get(&s->issuers[i].secondary));
    }
}

void orderstats_write(const struct orderstats *s, const struct config *config, struct buf *out)
{
    static const char STAGE[] = "lanyard_provisiond_stage_seconds";
    static const char WHOLE[] = "lanyard_provisiond_issuance_seconds";
    put_outcomes(s, config, out);
    put_replies(s, config, out);
    metric_put_head(out, STAGE, "histogram", "How long orders stayed in each state.");
    for (unsigned i = ORDER_ILLEGAL + 1; i < ORDER_STATE_N; i++) {
        const struct metric_label label = { "state", order_state_name((enum order_state)i) };
        if (!order_is_final((enum order_state)i))
            metric_put_histogram(out, STAGE, &label, 1, &s->stage_ms[i], METRIC_MS);
    }
    metric_put_head(out, WHOLE, "histogram",
                    "From an order being taken up to its certificate being stored.");
    metric_put_histogram(out, WHOLE, NULL, 0, &s->whole_ms, METRIC_MS);
    metric_put_head(out, "lanyard_provisiond_orders_under_way", "gauge",
                    "Orders that this process works on at present.");
    metric_put(out, "lanyard_provisiond_orders_under_way", NULL, 0, metric_get(&s->under_way));
}
