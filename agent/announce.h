/* announce.h - what this device says about itself to the service: the body of a report. Asks the
 * system for its addresses each time; any thread. */
#ifndef LANYARD_AGENT_ANNOUNCE_H
#define LANYARD_AGENT_ANNOUNCE_H

#include <stdbool.h>

#include <jansson.h>

#include "agent/config.h"
#include "agent/fallback.h"
#include "agent/portmap.h"
#include "agent/relaywatch.h"
#include "agent/resolverwatch.h"

#define ANNOUNCE_CONNECTIONS_MAX 16

/* What there is to say; all borrowed. */
struct announce {
    const struct config *config;
    const struct fallback *fallback; /* the device's own certificate */
    const struct portmap *portmap;   /* NULL: no port of the router is asked for */
    const struct relaywatch *relays; /* NULL: no relay is wanted */
    const struct resolverwatch *resolvers;
};

/* What people call this device; the caller's. NULL when out of memory, or for a host whose name is
 * no text. */
json_t *announce_name(const struct config *c);

/* JSON, heap, NULL when out of memory. With `lasting` it leaves out when things were looked at, and
 * is the same text as long as nothing else changes. */
char *announce_json(const struct announce *a, bool lasting);

#endif
