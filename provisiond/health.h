/* health.h - whether this process works, and whether all that it needs is there. Looks by itself
 * every few seconds; questions are answered from the last look, so that asking costs nothing. Tells
 * the service manager's watchdog. The loop's thread. */
#ifndef LANYARD_PROVISIOND_HEALTH_H
#define LANYARD_PROVISIOND_HEALTH_H

#include <stdbool.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/notify.h"
#include "common/net/loop.h"
#include "provisiond/config.h"
#include "provisiond/engine.h"
#include "provisiond/owncert.h"
#include "provisiond/store/jobs.h"

struct health; /* opaque */

struct health_parts {
    struct loop *loop;
    const struct config *config;
    struct jobs *store;
    struct engine *engine;
    const struct owncert *owncert;
    const struct notify *notify;
    const uint64_t *at_risk; /* certificates that end soon, as last counted */
};

/* Begins to look. The parts are borrowed until health_free(). Errors: ERR_NOMEM. */
NODISCARD enum err health_new(struct health **out, const struct health_parts *parts);

/* No more looks: before engine_stop(). */
void health_stop(struct health *h);

/* After the threads of the parts have ended. */
void health_free(struct health *h);

/* Whether the threads of the stores have answered within the last half minute (a locked database is
 * an answer). */
bool health_is_alive(const struct health *h);

/* Appends a JSON object with every check, and tells whether all that matters is there. */
bool health_write_ready(const struct health *h, struct buf *out);

#endif
