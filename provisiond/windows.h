/* windows.h - asks each CA when the certificates of active devices are to be renewed [RFC 9773],
 * spread over time: those that have waited longest first, never more in a second than is
 * configured. When a window moves into the past its neighbours by time of issue are asked about at
 * once, which is sooner than the CA's Retry-After for them: a revocation has a day, their regular
 * turn may have less of it than it needs. One loop, its thread; the database on the store's. */
#ifndef LANYARD_PROVISIOND_WINDOWS_H
#define LANYARD_PROVISIOND_WINDOWS_H

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/metric.h"
#include "common/net/loop.h"
#include "provisiond/config.h"
#include "provisiond/issuers.h"
#include "provisiond/store/jobs.h"

struct windows; /* opaque */

struct windows_parts {
    struct loop *loop;
    const struct config *config;
    const struct issuers *issuers;
    struct jobs *store;
};

/* Begins to ask. The parts are borrowed until windows_free(). Errors: ERR_NOMEM. */
NODISCARD enum err windows_new(struct windows **out, const struct windows_parts *parts);

/* Asks nothing more. */
void windows_stop(struct windows *w);

/* After the issuers were freed and the store's jobs are done. NULL does nothing. */
void windows_free(struct windows *w);

#endif
