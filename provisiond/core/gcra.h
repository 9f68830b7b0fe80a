/* gcra.h - a token bucket in one number (generic cell rate algorithm), and a fixed table of them by
 * key, so that limits per client cannot be made to use up memory. Pure; one thread at a time. */
#ifndef LANYARD_PROVISIOND_CORE_GCRA_H
#define LANYARD_PROVISIOND_CORE_GCRA_H

#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/span.h"

struct gcra_rate {
    int64_t interval_ms; /* between two events in the long run */
    int64_t burst;       /* events at once, 1 and up */
};

/* Counts an event at `now_ms` against the bucket *tat (0 when new). 0: allowed; otherwise the
 * milliseconds until it would be, and nothing was counted. */
int64_t gcra_take(int64_t *tat, const struct gcra_rate *rate, int64_t now_ms);

struct gcra_table; /* opaque */

/* `slots` buckets (power of two), 8 bytes each. Keys that fall into one slot share it: a collision
 * can only make the limit stricter. Errors: ERR_NOMEM, ERR_RANGE. */
NODISCARD enum err gcra_table_new(struct gcra_table **out, size_t slots, struct gcra_rate rate);
void gcra_table_free(struct gcra_table *t);

/* `rate` from now on, with interval and burst of at least 1; what was counted stays. */
void gcra_table_set_rate(struct gcra_table *t, struct gcra_rate rate);

/* gcra_take() for the bucket of `key`. */
int64_t gcra_table_take(struct gcra_table *t, struct span key, int64_t now_ms);

#endif
