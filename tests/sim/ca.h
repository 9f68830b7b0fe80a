/* ca.h - a CA as the simulator models it: Boulder's limits and renewal windows, written anew from
 * its documentation, so that a mistake in ours is seen and not repeated. Seconds of virtual time.
 */
#ifndef LANYARD_TESTS_SIM_CA_H
#define LANYARD_TESTS_SIM_CA_H

#include <stdbool.h>
#include <stdint.h>

struct ca_limit {
    int64_t count, period_s, tat_us;
};

/* What the CA knows of one set of names. */
struct ca_names {
    struct ca_limit certs; /* certificates for exactly these names */
    int64_t issued_at;     /* the last time; 0: never */
    int64_t not_before, not_after, revoked_at;
};

struct ca {
    struct ca_limit orders, domain; /* of the account; of the registered domain */
    int64_t life_s;
    int64_t away_from, away_until;
    int64_t orders_per_s; /* more are answered with 503 */
    int64_t second, in_second;
    /* what it saw */
    int64_t n_orders, n_limited, n_busy, n_away, n_windows, n_requests;
    int64_t minute, in_minute, peak_minute; /* requests */
};

enum ca_answer { CA_OK, CA_LIMITED, CA_BUSY, CA_AWAY };

void ca_init(struct ca *ca, int64_t life_s, int64_t domain_count);
void ca_names_init(struct ca_names *n);

/* A new order. `replaces`: it names its predecessor. CA_LIMITED is what a scheduler that mirrors
 * the limits never sees. */
enum ca_answer ca_order(struct ca *ca, struct ca_names *n, bool replaces, int64_t now_s);

/* The requests of an order that follow the first, until the certificate is there. */
void ca_issue(struct ca *ca, struct ca_names *n, int64_t now_s);

/* The window of the present certificate. */
enum ca_answer ca_window(struct ca *ca, const struct ca_names *n, int64_t now_s, int64_t *start,
                         int64_t *end);

#endif
