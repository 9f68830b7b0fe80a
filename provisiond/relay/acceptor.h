/* acceptor.h - a listening socket whose connections are handed over, and which looks away for a
 * while when the system runs out of descriptors. One loop, its thread. */
#ifndef LANYARD_PROVISIOND_RELAY_ACCEPTOR_H
#define LANYARD_PROVISIOND_RELAY_ACCEPTOR_H

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/addr.h"
#include "common/net/loop.h"

struct acceptor; /* opaque */

/* fn() takes the non-blocking socket over. */
typedef void acceptor_fn(void *arg, int fd, const struct addr *peer);

/* Accepts from the listening socket `fd`, which is taken over on success. With `defer_s` above 0
 * the kernel keeps a connection until its first bytes are there, about that long. Errors:
 * ERR_NOMEM. */
NODISCARD enum err acceptor_new(struct acceptor **out, struct loop *l, int fd, int defer_s,
                                acceptor_fn *fn, void *arg);

/* Closes the socket. NULL does nothing. */
void acceptor_free(struct acceptor *a);

#endif
