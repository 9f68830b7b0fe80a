/* schedule.h - where an order stands in the queue: its lane, its deadline there, whether the CA
 * counts it as new, and when another CA may be asked instead. Pure; any thread.
 *
 * Lanes are served in this order, each by earliest deadline. A renewal that is not done when little
 * of the certificate's life is left moves to the first lane (its failover time). */
#ifndef LANYARD_PROVISIOND_CORE_SCHEDULE_H
#define LANYARD_PROVISIOND_CORE_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

enum lane {
    LANE_EMERGENCY, /* a certificate in use would be lost, or the CA wants it gone */
    LANE_RENEWAL,   /* batch work with time left: leaves a tenth of every bucket to the others */
    LANE_NEW,       /* a first certificate */
    LANE_N
};

/* "emergency", "renewal", "new". Never NULL. */
const char *lane_name(enum lane lane);

/* The certificate that the device has, as far as known when it asks for the next. */
struct schedule_cert {
    bool exists;
    bool same_issuer; /* the CA and the account that the new order goes to */
    bool has_ari_id;
    int64_t not_before, not_after;    /* Unix seconds */
    int64_t window_start, window_end; /* as the CA suggested; 0, 0: it did not */
};

struct schedule_policy {
    int64_t failover_percent; /* of the life left when another CA is asked; 0: never */
    bool renewals_exempt;     /* the CA does not count the same names again as new */
};

struct schedule_place {
    enum lane lane;
    int64_t deadline_at;
    bool pays;                         /* counts against the account's and the domain's limits */
    bool replaces;                     /* the order may name its predecessor [RFC 9773 s5] */
    int64_t exempt_from, exempt_until; /* with `replaces`: no limit at all then; 0, 0: never */
    int64_t failover_at;               /* 0: has no certificate that could be lost */
};

/* The moment from which a certificate is in danger: `percent` of its life is left. */
int64_t schedule_danger_at(int64_t not_before, int64_t not_after, int64_t percent);

void schedule_place(struct schedule_place *out, const struct schedule_cert *cert,
                    const struct schedule_policy *policy, int64_t now_s);

#endif
