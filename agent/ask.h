/* ask.h - one question to one DNS server, whoever may answer as well: a socket and a source port of
 * its own for each, and only what comes from that server and answers that question counts. UDP,
 * and TCP when the answer was truncated, for as long as core/tries says. One loop, its
 * thread. */
#ifndef LANYARD_AGENT_ASK_H
#define LANYARD_AGENT_ASK_H

#include "agent/core/lookup.h"
#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/addr.h"
#include "common/net/loop.h"

struct ask; /* opaque */

/* `reply` is NULL when there was none in time; borrowed for the call. */
typedef void ask_done(void *arg, const struct lookup_reply *reply);

/* Asks `server` for `q` (copied; its id is chosen here) of the zone `zone` (borrowed until the
 * end). `fn` is called once, later, from the loop, after which *out is gone. Errors: ERR_NOMEM. */
NODISCARD enum err ask_start(struct ask **out, struct loop *l, const struct addr *server,
                             const struct lookup *q, const struct name *zone, ask_done *fn,
                             void *arg);

/* Ends it without a call. NULL does nothing. */
void ask_cancel(struct ask *a);

#endif
