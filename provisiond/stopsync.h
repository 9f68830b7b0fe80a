/* stopsync.h - keeps the files of suspended ids that dnsd reads as the database says: every 10 s,
 * so that a suspension on another node, or the end of a quarantine, arrives here within a minute.
 * One loop, its thread; the work is a job of the store thread. */
#ifndef LANYARD_PROVISIOND_STOPSYNC_H
#define LANYARD_PROVISIOND_STOPSYNC_H

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/loop.h"
#include "provisiond/config.h"
#include "provisiond/store/jobs.h"

struct stopsync; /* opaque */

/* Begins at once, unless no zone names such a file. Borrows all until stopsync_free().
 * Errors: ERR_NOMEM. */
NODISCARD enum err stopsync_new(struct stopsync **out, struct loop *l, const struct config *config,
                                struct jobs *store);

/* The store's jobs must be done. NULL does nothing. */
void stopsync_free(struct stopsync *s);

#endif
