#include "tests/sim/ca.h"

#define US 1000000
#define SAME_NAMES_S ((int64_t)120 * 86400)
#define REQUESTS_AFTER_ORDER                                                                       \
    7 /* authz, challenge, authz, finalize, order, certificate, a nonce                            \
       */

void ca_init(struct ca *ca, int64_t life_s, int64_t domain_count)
{
    *ca = (struct ca){ .orders = { 300, 3 * 3600, 0 },
                       .domain = { domain_count, 7 * 86400, 0 },
                       .life_s = life_s,
                       .orders_per_s = 40 };
}

void ca_names_init(struct ca_names *n)
{
    *n = (struct ca_names){ .certs = { 5, 7 * 86400, 0 } };
}

static bool has_one(const struct ca_limit *l, int64_t now_s)
{
    int64_t step_us = l->period_s * US / l->count;
    int64_t tat_us = l->tat_us > now_s * US ? l->tat_us : now_s * US;
    return tat_us + step_us - now_s * US <= l->period_s * US;
}

static void spend(struct ca_limit *l, int64_t now_s)
{
    int64_t tat_us = l->tat_us > now_s * US ? l->tat_us : now_s * US;
    l->tat_us = tat_us + l->period_s * US / l->count;
}

static void count(struct ca *ca, int64_t requests, int64_t now_s)
{
    if (now_s / 60 != ca->minute) {
        ca->minute = now_s / 60;
        ca->in_minute = 0;
    }
    ca->n_requests += requests;
    ca->in_minute += requests;
    if (ca->in_minute > ca->peak_minute)
        ca->peak_minute = ca->in_minute;
}

static bool is_away(const struct ca *ca, int64_t now_s)
{
    return now_s >= ca->away_from && now_s < ca->away_until;
}

static bool is_exempt(const struct ca *ca, const struct ca_names *n, bool replaces, int64_t now_s)
{
    int64_t start, end;
    struct ca probe = *ca;
    if (!replaces || ca_window(&probe, n, now_s, &start, &end) != CA_OK)
        return false;
    return now_s >= start && now_s < end;
}

enum ca_answer ca_order(struct ca *ca, struct ca_names *n, bool replaces, int64_t now_s)
{
    count(ca, 1, now_s);
    if (is_away(ca, now_s)) {
        ca->n_away++;
        return CA_AWAY;
    }
    ca->in_second = ca->second == now_s ? ca->in_second + 1 : 1;
    ca->second = now_s;
    if (ca->in_second > ca->orders_per_s * 60) { /* the simulator's orders come by the minute */
        ca->n_busy++;
        return CA_BUSY;
    }
    bool known = n->issued_at != 0 && now_s - n->issued_at < SAME_NAMES_S;
    bool exempt = is_exempt(ca, n, replaces, now_s);
    bool limited =
        !exempt && (!has_one(&n->certs, now_s) ||
                    (!known && (!has_one(&ca->orders, now_s) || !has_one(&ca->domain, now_s))));
    if (limited) {
        ca->n_limited++;
        return CA_LIMITED;
    }
    if (!exempt)
        spend(&n->certs, now_s);
    if (!exempt && !known) {
        spend(&ca->orders, now_s);
        spend(&ca->domain, now_s);
    }
    ca->n_orders++;
    return CA_OK;
}

void ca_issue(struct ca *ca, struct ca_names *n, int64_t now_s)
{
    count(ca, REQUESTS_AFTER_ORDER, now_s);
    n->issued_at = n->not_before = now_s;
    n->not_after = now_s + ca->life_s;
    n->revoked_at = 0;
}

enum ca_answer ca_window(struct ca *ca, const struct ca_names *n, int64_t now_s, int64_t *start,
                         int64_t *end)
{
    int64_t life_s = n->not_after - n->not_before;
    int64_t centre = n->not_before + (life_s < 10 * 86400 ? life_s / 2 : life_s / 3 * 2);
    count(ca, 1, now_s);
    ca->n_windows++;
    if (is_away(ca, now_s))
        return CA_AWAY;
    *start = n->revoked_at != 0 ? n->revoked_at - 3600 : centre - life_s / 100;
    *end = n->revoked_at != 0 ? n->revoked_at - 1800 : centre + life_s / 100;
    return CA_OK;
}
