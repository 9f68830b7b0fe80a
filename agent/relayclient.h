/* relayclient.h - the device's one connection to its relay, over which it is told of each client
 * that wants to come, and then dials back for it (common/net/relayframe.h). Between clients it does
 * nothing at all: the kernel keeps the way open. Comes back by itself when it is lost. One loop,
 * its thread. */
#ifndef LANYARD_AGENT_RELAYCLIENT_H
#define LANYARD_AGENT_RELAYCLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "agent/core/relaygrant.h"
#include "agent/identity.h"
#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/addr.h"
#include "common/net/fetch.h"
#include "common/net/loop.h"

struct relayclient; /* opaque */

struct relayclient_options {
    const struct identity *identity; /* borrowed */
    struct fetch *pool;              /* for its connections; borrowed */
    int64_t retry_s;                 /* half of the first wait after a connection was lost */
    /* Whether the relay may say that a client comes from there: it is declined otherwise. */
    bool (*may_come)(void *arg, const struct addr *client);
    /* A client is here, on the non-blocking socket `fd`, which is taken over: its TLS hello comes
     * next. `client` and `ours` are the ends of its connection to the relay. */
    void (*on_client)(void *arg, int fd, const struct addr *client, const struct addr *ours);
    void (*on_state)(void *arg);                 /* relayclient_to_json() has something new */
    void (*on_tried)(void *arg, bool connected); /* an attempt to connect ended */
    /* The relay cannot be used: the service may know better. Once an hour at most, not counting one
     * that was used for ten minutes since. */
    void (*on_stuck)(void *arg);
    void *arg;
};

/* Does nothing before relayclient_use(). Errors: ERR_NOMEM, ERR_CRYPTO. */
NODISCARD enum err relayclient_new(struct relayclient **out, struct loop *l,
                                   const struct relayclient_options *o);

/* The relay to use from now on (copied): another one, or the same with a fresh ticket. NULL: none.
 */
void relayclient_use(struct relayclient *r, const struct relaygrant *grant);

/* For `status --json`; the caller's. JSON null while there is no relay; NULL when out of memory. */
json_t *relayclient_to_json(const struct relayclient *r);

/* Closes the connection; clients that were handed over stay. NULL does nothing. */
void relayclient_free(struct relayclient *r);

#endif
