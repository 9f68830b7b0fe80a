/* routernews.h - hears the router say that its outer address changed, or that it started anew:
 * NAT-PMP and PCP routers tell all hosts of the network [RFC 6886 s3.2.1, RFC 6887 s14.1]. One
 * loop, its thread. */
#ifndef LANYARD_AGENT_ROUTERNEWS_H
#define LANYARD_AGENT_ROUTERNEWS_H

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/loop.h"

struct routernews; /* opaque */

/* Calls fn(arg) for each such word, whoever sent it: it is a reason to ask the router, no more.
 * Errors: ERR_UNAVAILABLE when the socket cannot be had, ERR_NOMEM. */
NODISCARD enum err routernews_new(struct routernews **out, struct loop *l, void (*fn)(void *arg),
                                  void *arg);

void routernews_free(struct routernews *r);

#endif
