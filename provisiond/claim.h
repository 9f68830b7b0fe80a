/* claim.h - one look at the queue, as a job of the store: what died or was left behind is set free,
 * what is overdue is moved, then what is due is taken. The engine fills it in, submits it and reads
 * what came of it. Private to engine.c. */
#ifndef LANYARD_PROVISIOND_CLAIM_H
#define LANYARD_PROVISIOND_CLAIM_H

#include <stdbool.h>
#include <stdint.h>

#include "provisiond/config.h"
#include "provisiond/store/jobs.h"
#include "provisiond/store/order.h"
#include "provisiond/store/queue.h"

#define CLAIM_LEASE_S 900     /* longer than any wait inside a step */
#define CLAIM_NODE_DEAD_S 20  /* not seen for so long: it writes every five that it lives */
#define CLAIM_FAILOVER_S 3600 /* each CA's time with an order that it got from another */

struct claim {
    struct job job;
    void *owner; /* the engine's, for job.done */
    const struct config *config;
    /* what to do */
    struct order_lease lease; /* node and claim; `until` is set */
    bool unsure;              /* look first whether this claim was successful before */
    bool clock_went_back, look_for_dead, upkeep;
    bool adopt; /* what is at issuers that the zones do not name */
    struct queue_issuer issuers[CONFIG_LIST_MAX];
    size_t n_issuers;
    bool away[CONFIG_LIST_MAX]; /* issuers that have not answered for long */
    int64_t clock_ahead_s;      /* of the wall clock over the monotonic one */
    int64_t looked_at_ms;       /* monotonic: the moment that `room` is of */
    /* what came of it */
    struct order_row *rows; /* QUEUE_CLAIM_MAX; a megabyte, of which most claims touch little */
    size_t n_rows;
    int64_t next_at; /* when more may be due; 0: not known */
};

/* An empty one that runs as job.run; `config` is borrowed. NULL when memory is short. */
struct claim *claim_new(const struct config *config);
void claim_free(struct claim *c);

#endif
