/* fleetcount.h - the fleet, and what is left of the CAs' limits, in numbers: counted now and then
 * over a connection and a thread of its own, so that nobody waits for it. The loop's thread. */
#ifndef LANYARD_PROVISIOND_FLEETCOUNT_H
#define LANYARD_PROVISIOND_FLEETCOUNT_H

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/net/loop.h"
#include "provisiond/config.h"
#include "provisiond/store/census.h"

struct fleetcount; /* opaque */

/* Opens another connection to the store and begins to count. Errors: those of sql_open(). */
NODISCARD enum err fleetcount_new(struct fleetcount **out, struct loop *l,
                                  const struct config *config, struct err_info *info);

/* Waits for a count under way. NULL does nothing. */
void fleetcount_free(struct fleetcount *f);

/* The last count: all 0 before the first. Borrowed. */
const struct census *fleetcount_last(const struct fleetcount *f);

/* Appends the metrics. Errors are those of `out`. */
void fleetcount_write(const struct fleetcount *f, struct buf *out);

#endif
