/* service.h - provisiond on virtual time: the real scheduler and the real store, with the moment
 * passed in, between the modelled devices and the modelled CA. */
#ifndef LANYARD_TESTS_SIM_SERVICE_H
#define LANYARD_TESTS_SIM_SERVICE_H

#include <stdint.h>

#include "provisiond/core/cohort.h"
#include "provisiond/core/gate.h"
#include "provisiond/store/order.h"
#include "provisiond/store/queue.h"
#include "tests/sim/ca.h"
#include "tests/sim/fleet.h"

#define SERVICE_ZONE "direct.example"
#define SERVICE_FLIGHT_MAX 2000
#define SERVICE_CA_MAX 2

struct flight { /* an order under way at the CA */
    int64_t order_id, fence, done_at;
    int64_t paid;
    uint32_t device;
    unsigned at; /* which CA */
};

/* A CA, and what the service keeps of it. */
struct service_ca {
    struct ca *ca;
    struct queue_issuer issuer; /* the limits that it mirrors */
    struct gate gate;
};

struct service {
    struct sql *db;
    struct fleet *fleet;
    struct service_ca cas[SERVICE_CA_MAX]; /* in the order of the zone */
    unsigned n_cas;
    struct cohort_alarms alarms;
    struct flight flights[SERVICE_FLIGHT_MAX];
    size_t n_flights;
    double windows_per_s, window_credit;
    int64_t alarmed_until, upkeep_at, now_s;
    /* what happened */
    int64_t issued, first, renewed, in_window, missed, missed_away, late, replaced;
    int64_t expired_in_service, expired_off, failed_over, longest_wait_s, most_in_flight;
    int64_t by_second;    /* certificates of the second CA */
    int64_t returned[48]; /* revoked certificates that were replaced, by hours since */
    int64_t revoked_at, n_revoked;
};

/* `cas`: n_cas of them, the first is asked first. */
void service_init(struct service *s, struct sql *db, struct fleet *f, struct ca *cas,
                  unsigned n_cas);

/* A device that has a certificate from the time before. */
void service_seed(struct service *s, uint32_t device, int64_t not_before, int64_t now_s);

/* Until `now_s`: devices act, orders end and begin, windows are asked for. */
void service_run(struct service *s, int64_t now_s, int64_t step_s);

#endif
