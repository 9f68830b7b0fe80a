/* delivery.h - hands the certificate to the application: runs the reload command, or sends the
 * signal, and looks at what is served then. What fails, or leaves another certificate served, is
 * tried again with growing waits (core/backoff.h) until it works. One loop, its thread. */
#ifndef LANYARD_AGENT_DELIVERY_H
#define LANYARD_AGENT_DELIVERY_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/config.h"
#include "agent/events.h"
#include "agent/issuance.h"
#include "agent/servedcheck.h"
#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/loop.h"
#include "common/pki/devid.h"

struct delivery; /* opaque */

struct delivery_options { /* all borrowed */
    const struct config *config;
    const struct devid *id;
    struct issuance *issuance; /* the set in place, and where results are noted */
    struct events *events;
    bool hosted; /* a library: no commands, and no SIGCHLD */
};

/* Does nothing before delivery_start(). Errors: ERR_NOMEM. */
NODISCARD enum err delivery_new(struct delivery **out, struct loop *l,
                                const struct delivery_options *o);

/* Reloads when that did not go well, or was not done, for the set in place; looks otherwise. */
void delivery_start(struct delivery *d);

/* A newer set is in place: what was before is given up. */
void delivery_renewed(struct delivery *d);

/* Uses `c` from now on; what waits to be tried again is tried at once. Errors: ERR_NOMEM: nothing
 * is looked at from now on. */
NODISCARD enum err delivery_set_config(struct delivery *d, const struct config *c);

/* NULL: the application is not looked at. Borrowed. */
const struct served_result *delivery_served(const struct delivery *d);

/* How often it was in vain since it last went well. */
unsigned delivery_attempts(const struct delivery *d);

/* Unix seconds of the next attempt, now being `now_s`; 0: none is planned. */
int64_t delivery_next_at(const struct delivery *d, int64_t now_s);

void delivery_free(struct delivery *d);

#endif
