/* fleetcount.h - the fleet in numbers, counted now and then over a connection and a thread of its
 * own, so that nobody waits for it. The loop's thread. */
#ifndef LANYARD_PROVISIOND_FLEETCOUNT_H
#define LANYARD_PROVISIOND_FLEETCOUNT_H

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/net/loop.h"
#include "provisiond/store/census.h"

struct fleetcount; /* opaque */

/* Opens another connection to `store` and begins to count. Errors: those of sql_open(). */
NODISCARD enum err fleetcount_new(struct fleetcount **out, struct loop *l, const char *store,
                                  struct err_info *info);

/* Waits for a count under way. NULL does nothing. */
void fleetcount_free(struct fleetcount *f);

/* The last count: all 0 before the first. Borrowed. */
const struct census *fleetcount_last(const struct fleetcount *f);

/* Appends the metrics. Errors are those of `out`. */
void fleetcount_write(const struct fleetcount *f, struct buf *out);

#endif
