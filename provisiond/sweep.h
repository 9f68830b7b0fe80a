/* sweep.h - takes away the challenge values that no order owns any more: at start, and every half
 * minute for whatever ended without its own clean-up (an order canceled while it waited, by the
 * admin tool for one). One loop, its thread; blocking work goes to the two store threads. */
#ifndef LANYARD_PROVISIOND_SWEEP_H
#define LANYARD_PROVISIOND_SWEEP_H

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/loop.h"
#include "common/store/challenge.h"
#include "provisiond/store/jobs.h"

struct sweep; /* of one challenge store; opaque */

/* Begins at once. `orders` is the thread of the main database, `values` that of `challenges`; all
 * are borrowed until sweep_free(). Errors: ERR_NOMEM. */
NODISCARD enum err sweep_new(struct sweep **out, struct loop *l, struct jobs *orders,
                             struct jobs *values, struct challenge_store *challenges);

/* Submits nothing from now on. */
void sweep_stop(struct sweep *s);

/* Neither thread may hold work of it any more. NULL does nothing. */
void sweep_free(struct sweep *s);

#endif
