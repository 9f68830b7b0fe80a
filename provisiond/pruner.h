/* pruner.h - keeps the database from growing with the years: looks through the orders a piece at a
 * time and has old ones removed (store/prune.h), and old reports (store/report.h). One loop, its
 * thread; the work is jobs of the store thread. */
#ifndef LANYARD_PROVISIOND_PRUNER_H
#define LANYARD_PROVISIOND_PRUNER_H

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/loop.h"
#include "provisiond/store/jobs.h"

struct pruner; /* opaque */

/* `store` is borrowed until pruner_free(). Errors: ERR_NOMEM. */
NODISCARD enum err pruner_new(struct pruner **out, struct loop *l, struct jobs *store);

/* After jobs_free() of the store. NULL does nothing. */
void pruner_free(struct pruner *p);

#endif
