/* task.h - one order under way in this process: what the engine keeps of it between two callbacks.
 * Private to engine.c and step.c. Loop thread. */
#ifndef LANYARD_PROVISIOND_TASK_H
#define LANYARD_PROVISIOND_TASK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/net/loop.h"
#include "common/store/challenge.h"
#include "provisiond/config.h"
#include "provisiond/core/chain.h"
#include "provisiond/core/gate.h"
#include "provisiond/core/order.h"
#include "provisiond/issuer.h"
#include "provisiond/readback.h"
#include "provisiond/store/certificate.h"
#include "provisiond/store/jobs.h"
#include "provisiond/store/order.h"

#define TASK_NAME_MAX 256

struct engine;

struct task {
    struct engine *engine;
    struct task *prev, *next; /* in the engine's list */
    const struct config_zone *zone;
    struct issuer *issuer;
    size_t issuer_no;                   /* in the configuration */
    const struct config_issuer *ca;     /* how it is configured */
    struct gate *gate;                  /* of the issuer */
    struct chain_above *above;          /* of the issuer */
    struct challenge_store *challenges; /* NULL when the zone has none */
    struct order_row row;
    uint32_t seed; /* from the device id: spreads the fleet */
    size_t n_names;
    char names[ISSUER_NAMES_MAX][TASK_NAME_MAX];

    /* what the CA said in this process; empty after a restart, then asked again */
    bool order_known, authz_known, values_put, started;
    struct issuer_order order;
    size_t n_authz, at; /* `at`: the authorisation being looked at */
    struct issuer_authz authz[ISSUER_NAMES_MAX];
    unsigned polls;
    int64_t step_deadline_ms;     /* monotonic; 0: none */
    int64_t claimed_ms, since_ms; /* monotonic: taken up; in the present state */

    struct loop_timer *timer;
    void (*resume)(struct task *t); /* what the timer goes on with */
    void (*again)(struct task *t);  /* what a failed step goes on with after its wait ... */
    int64_t wait_s;                 /* ... of so long */
    struct readback *readback;

    struct job save;            /* one write of the row at a time */
    bool keep;                  /* hold the lease after the write */
    bool gone;                  /* the row was canceled or taken by others */
    enum order_state old_state; /* before the write */
    bool replaces_sent;         /* with the new order */
    int charge;                 /* with the next write: QUEUE_PAID() of what it had not to pay, */
    int refund;                 /* with the write: the same of what the order gets back, */
    bool failed_validation;     /* whether the CA counts a failed validation, */
    int64_t park_until;         /* and until when it refuses, by the limit `park`; 0: it does not */
    enum bucket_kind park;
    struct certificate_row cert; /* with chain: stored together with the row */
    char *chain;
    bool has_windows; /* the CA says when to renew [RFC 9773] */
    struct job load;
    struct buf csr; /* only between the two: many orders wait long, and it may be large */
    struct job challenge;
    bool remove_values; /* what the challenge job does */
    int64_t challenge_until;
};

/* step.c: acts on the state the row is in, which is on disk. */
void task_enter(struct task *t);

/* engine.c: moves the row by `ev`, writes it down, and enters the new state. For ORDER_EV_LOST and
 * ORDER_EV_REFUSED `problem` and `detail` say why. */
void task_move(struct task *t, enum order_event ev, const char *problem, const char *detail);

/* engine.c: the CA takes no new order now. By its limit `kind` until `until` (Unix seconds), or,
 * with BUCKET_KIND_N, for a reason of this order alone. Back to the queue. */
void task_hold(struct task *t, enum bucket_kind kind, int64_t until, const char *problem,
               const char *detail);

/* engine.c: the present step failed for now: notes it, and after `delay_s` calls resume(t) if the
 * order is still ours then. */
void task_retry(struct task *t, int64_t delay_s, void (*resume)(struct task *t),
                const char *problem, const char *detail);

/* engine.c: notes why, gives the order up, to be claimed again in its present state after
 * `delay_s`. */
void task_park(struct task *t, int64_t delay_s, const char *problem, const char *detail);

/* engine.c: calls resume(t) after `delay_s`; nothing is written. */
void task_sleep(struct task *t, int64_t delay_s, void (*resume)(struct task *t));

/* engine.c: the same after a moment that is shorter than a second. */
void task_nap(struct task *t, void (*resume)(struct task *t));

/* engine.c: writes (or removes) the challenge values of the task, then resume(t). */
void task_put_values(struct task *t, void (*resume)(struct task *t));

/* engine.c: reads the CSR into t->csr, where it is not yet, then resume(t). */
void task_load_csr(struct task *t, void (*resume)(struct task *t));

/* engine.c: counts a reply of the CA, and what it says about its health. */
void task_count(struct task *t, const struct issuer_reply *r);

struct loop *task_loop(const struct task *t);

#endif
