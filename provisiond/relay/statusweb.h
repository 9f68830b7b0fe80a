/* statusweb.h - /metrics, /healthz and /readyz over plain HTTP, for a loopback or management
 * address. One loop, its thread. */
#ifndef LANYARD_PROVISIOND_RELAY_STATUSWEB_H
#define LANYARD_PROVISIOND_RELAY_STATUSWEB_H

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/loop.h"
#include "provisiond/relay/hub.h"

struct statusweb; /* opaque */

/* Serves on the listening socket *fd, which becomes -1: taken over. `h` is borrowed. Errors:
 * ERR_NOMEM, ERR_IO. */
NODISCARD enum err statusweb_new(struct statusweb **out, struct loop *l, int *fd,
                                 const struct hub *h);

/* NULL does nothing. */
void statusweb_free(struct statusweb *w);

#endif
