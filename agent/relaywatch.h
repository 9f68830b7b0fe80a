/* relaywatch.h - keeps the list of relays that this device cannot reach (core/relayfail.h): hears
 * how each attempt to connect and each report ended, and looks at those on the list now and then,
 * by TCP alone. One loop, its thread. */
#ifndef LANYARD_AGENT_RELAYWATCH_H
#define LANYARD_AGENT_RELAYWATCH_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "agent/core/relaygrant.h"
#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/fetch.h"
#include "common/net/loop.h"

struct relaywatch; /* opaque */

struct relaywatch_options {
    struct fetch *pool; /* for looking; borrowed */
    int64_t unit_s;     /* see core/relayfail.h */
    /* The list is another one: the service is to be told. */
    void (*on_change)(void *arg);
    void *arg;
};

/* Errors: ERR_NOMEM. */
NODISCARD enum err relaywatch_new(struct relaywatch **out, struct loop *l,
                                  const struct relaywatch_options *o);

/* The relay that the service names; NULL: none. */
void relaywatch_use(struct relaywatch *w, const struct relaygrant *grant);

/* An attempt to connect to it ended. May call on_change. */
void relaywatch_tried(struct relaywatch *w, bool connected);

/* The service has answered a report, or cannot be reached. */
void relaywatch_report(struct relaywatch *w, bool answered);

/* The names, for a report; the caller's. NULL when there are none, or no memory. */
json_t *relaywatch_to_json(const struct relaywatch *w);

/* NULL does nothing. */
void relaywatch_free(struct relaywatch *w);

#endif
