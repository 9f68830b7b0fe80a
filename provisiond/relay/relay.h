/* relay.h - the relay: listeners, signals, metrics, around the hub. One loop, one thread. */
#ifndef LANYARD_PROVISIOND_RELAY_RELAY_H
#define LANYARD_PROVISIOND_RELAY_RELAY_H

#include "common/base/attr.h"
#include "common/base/err.h"
#include "provisiond/relay/relayconf.h"

struct relay; /* opaque */

/* Binds everything. `config` is taken over on success; `path`, for SIGHUP, is kept. Errors: a
 * sentence in `info`. */
NODISCARD enum err relay_new(struct relay **out, struct relayconf *config, const char *path,
                             struct err_info *info);

/* Serves until SIGTERM or SIGINT, and then for at most drain_timeout_s more. */
void relay_run(struct relay *r);

/* NULL does nothing. */
void relay_free(struct relay *r);

#endif
