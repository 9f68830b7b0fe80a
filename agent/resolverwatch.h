/* resolverwatch.h - keeps a verdict on the resolvers of this network: looks at the start, whenever
 * told that something changed, and when the last verdict has lasted its time (verdict_lasts_s()).
 * One loop, its thread. */
#ifndef LANYARD_AGENT_RESOLVERWATCH_H
#define LANYARD_AGENT_RESOLVERWATCH_H

#include <stdbool.h>

#include <jansson.h>

#include "agent/config.h"
#include "agent/control.h"
#include "agent/core/verdict.h"
#include "agent/events.h"
#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/loop.h"

struct resolverwatch; /* opaque */

/* As probe_new(). `events` gets a line when the verdict changes; fn(arg) is called after each look.
 */
NODISCARD enum err resolverwatch_new(struct resolverwatch **out, struct loop *l,
                                     const struct config *config, const char *id,
                                     struct events *events, void (*fn)(void *arg), void *arg);

void resolverwatch_set_config(struct resolverwatch *w, const struct config *config);

/* As probe_set_public(); looks again if that is news. */
void resolverwatch_set_public(struct resolverwatch *w, const struct ip *ip, const char *label);

/* Looks now. */
void resolverwatch_look(struct resolverwatch *w);

/* Somebody took a way round whom the resolvers of this network may have misled: looks a minute from
 * now, once an hour at most. */
void resolverwatch_doubt(struct resolverwatch *w);

/* Looks now, after the look that is under way, and answers `req` with resolverwatch_detail() at the
 * end: what it says was seen after the request. */
void resolverwatch_answer(struct resolverwatch *w, struct control_req *req);

/* What the owner is shown (see verdict_detail()), {"running": true} while the first look is under
 * way; a new reference. */
json_t *resolverwatch_detail(const struct resolverwatch *w);

/* What the service is told (see verdict_to_json()): the hashes in it have a key of this process, so
 * that they tell the resolvers of one report apart and nothing else. NULL before the first look; a
 * new reference. */
json_t *resolverwatch_to_json(const struct resolverwatch *w);

void resolverwatch_free(struct resolverwatch *w);

#endif
