/* netwatch.h - notices that the addresses or routes of this device changed: the kernel says so over
 * netlink [rtnetlink(7)]. A burst of changes is one call. One loop, its thread. */
#ifndef LANYARD_AGENT_NETWATCH_H
#define LANYARD_AGENT_NETWATCH_H

#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/loop.h"

struct netwatch; /* opaque */

/* Calls fn(arg) `quiet_ms` after the last change of a burst, and at the latest twice as long after
 * its first. Errors: ERR_UNAVAILABLE when the system has no netlink, ERR_NOMEM. */
NODISCARD enum err netwatch_new(struct netwatch **out, struct loop *l, int64_t quiet_ms,
                                void (*fn)(void *arg), void *arg, struct err_info *info);

void netwatch_free(struct netwatch *w);

#endif
