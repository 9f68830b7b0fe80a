/* backoff.h - how long an order waits after a failure. Pure; any thread. */
#ifndef LANYARD_PROVISIOND_CORE_BACKOFF_H
#define LANYARD_PROVISIOND_CORE_BACKOFF_H

#include <stdint.h>

/* Seconds until the same step is tried again after its `failures`-th failure in a row (1 and up):
 * 1, 2, 4 ... 300, moved by up to a quarter either way by `seed`; never less than 1. */
int64_t backoff_step_s(unsigned failures, uint32_t seed);

/* Seconds until a fresh order is tried after the `failures`-th one was lost: 10 s, 1 m, 10 m, 100
 * m, then a day, moved by up to a quarter by `seed`. Stays under the five failed validations an
 * hour that CAs allow a name. */
int64_t backoff_order_s(unsigned failures, uint32_t seed);

/* Seconds between two looks at the same pending object of the CA: the `polls`-th look (1 and up)
 * comes 1, 1, 2, 3, 5 ... 30 s after the one before. */
int64_t backoff_poll_s(unsigned polls);

#endif
