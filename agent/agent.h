/* agent.h - the daemon: issuance, proxies, reload command and control socket on one loop. */
#ifndef LANYARD_AGENT_AGENT_H
#define LANYARD_AGENT_AGENT_H

#include <stdbool.h>

#include "agent/config.h"
#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/loop.h"

struct agent; /* opaque */

/* The daemon for `config` (taken over), read from `config_path` (kept, for SIGHUP). `listeners` are
 * the bound sockets of config's proxies and then of its pages, taken over whatever happens. The
 * state folder must be locked by the caller. Errors: a sentence in `info`. */
NODISCARD enum err agent_new(struct agent **out, struct loop *l, struct config *config,
                             const char *config_path, const int *listeners, struct err_info *info);

/* Starts the work; loop_run() does the rest, until SIGTERM, SIGINT or `forget`. */
void agent_start(struct agent *a);

void agent_free(struct agent *a);

#endif
