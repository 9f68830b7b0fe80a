/* status.h - the state of the agent for people and programs: one JSON object, and the text made of
 * it. The daemon and, when none is running, the command build it the same way. Holds no secret but
 * the pairing code, while there is one. */
#ifndef LANYARD_AGENT_STATUS_H
#define LANYARD_AGENT_STATUS_H

#include <stdio.h>

#include <jansson.h>

#include "agent/certstore.h"
#include "agent/config.h"
#include "agent/delivery.h"
#include "agent/fallback.h"
#include "agent/journal.h"
#include "agent/mdns.h"
#include "agent/pairing.h"
#include "agent/portmap.h"
#include "agent/relayclient.h"
#include "agent/relaywatch.h"
#include "agent/proxy.h"
#include "agent/report.h"
#include "common/pki/devid.h"

/* What is reported; borrowed where nothing else is said. */
struct status {
    const struct config *config;
    const struct devid *id; /* NULL: not made yet */
    const struct journal *journal;
    const struct certset *certificate; /* NULL: none */
    bool is_running;
    int64_t clock_s;                 /* what the clock says, Unix seconds */
    const char *detail;              /* of the service about the order; "" when none */
    int64_t next_at;                 /* Unix seconds; 0: now */
    const char *storage;             /* why nothing can be stored; "" when it can */
    const struct fallback *fallback; /* NULL: not known */
    const struct pairing *pairing;   /* NULL: nothing to show */
    const struct delivery *delivery; /* NULL: not known */
    const struct relayclient *relay; /* NULL: none is used; ... */
    const struct relaywatch *relays; /* ... then this, too */
    const struct mdns *mdns;         /* NULL: the network is told nothing */
    const struct portmap *portmap;   /* NULL: no port of the router is asked for */
    const struct report *report;     /* NULL: not known */
    struct proxy *const *proxies;    /* one for each of config's, or NULL */
    json_t *resolvers;               /* of resolverwatch_detail(), taken over; NULL: not known */
};

/* The JSON object, the caller's; NULL when out of memory. `now_s` is the time, Unix seconds,
 * whatever the clock says. */
json_t *status_to_json(const struct status *s, int64_t now_s);

/* Writes the JSON object `root` as text for a person. */
void status_print(const json_t *root, FILE *out);

#endif
