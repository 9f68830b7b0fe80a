/* netwatch.h - notices that this device is in another network than before, or has another address
 * there: the kernel says over netlink [rtnetlink(7)] when to look. What counts are the addresses
 * that lead here, without their lifetimes, the ways to the Internet and the system's resolvers
 * (core/netprint.h). A burst of changes is one call. One loop, its thread. */
#ifndef LANYARD_AGENT_NETWATCH_H
#define LANYARD_AGENT_NETWATCH_H

#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/loop.h"

struct netwatch; /* opaque */

/* Calls fn(arg) `quiet_ms` after the last message of a burst, and at the latest twice as long after
 * its first, if the network is then another than it was at the last look, or at the start. Other
 * resolvers alone make no message: they are seen at the next. Errors: ERR_UNAVAILABLE when the
 * system has no netlink, ERR_NOMEM. */
NODISCARD enum err netwatch_new(struct netwatch **out, struct loop *l, int64_t quiet_ms,
                                void (*fn)(void *arg), void *arg, struct err_info *info);

void netwatch_free(struct netwatch *w);

#endif
