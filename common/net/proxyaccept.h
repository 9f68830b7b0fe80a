/* proxyaccept.h - an accepted connection of a load balancer, until its PROXY header has come. Reads
 * not a byte more. One loop, its thread. */
#ifndef LANYARD_NET_PROXYACCEPT_H
#define LANYARD_NET_PROXYACCEPT_H

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/addr.h"
#include "common/net/loop.h"

struct proxyaccept; /* opaque */

/* Waits for the header on the non-blocking socket `fd` of `peer`, taken over also on an error.
 * fn(arg, fd, peer) is called once, later, from the loop: the socket is then the callee's, with the
 * address of the client; -1 when there was no good header in `timeout_ms`. The object is dead after
 * it. Errors: ERR_NOMEM. */
NODISCARD enum err proxyaccept_new(struct proxyaccept **out, struct loop *l, int fd,
                                   const struct addr *peer, int64_t timeout_ms,
                                   void (*fn)(void *arg, int fd, const struct addr *peer),
                                   void *arg);

/* Closes the socket without a call. */
void proxyaccept_free(struct proxyaccept *p);

#endif
