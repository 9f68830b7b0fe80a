/* agent.h - the daemon: issuance, proxies, reload command and control socket on one loop. */
#ifndef LANYARD_AGENT_AGENT_H
#define LANYARD_AGENT_AGENT_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>
#include <openssl/x509.h>

#include "agent/config.h"
#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/loop.h"

struct agent; /* opaque */

/* A program that has the agent inside itself (agent/lib), and is told instead of seeing files and
 * commands. Called on the loop's thread; everything is borrowed for the call. */
struct agent_host {
    /* The certificate to serve from now on: the public one, or (`local`) the device's own. */
    void (*on_certificate)(void *arg, bool local, EVP_PKEY *key, STACK_OF(X509) * chain,
                           int64_t not_after_s);
    void (*on_state)(void *arg); /* agent_status() has something new */
    void *arg;
};

/* The daemon for `config` (taken over), read from `config_path` (kept, for SIGHUP). `listeners` are
 * the bound sockets of config's proxies and then of its pages, taken over whatever happens. The
 * state folder must be locked by the caller. With a `host` (copied; NULL: none) no signal of the
 * process is touched and no command runs: `config` must have no reload_command and no
 * reload_pid_file. Errors: a sentence in `info`. */
NODISCARD enum err agent_new(struct agent **out, struct loop *l, struct config *config,
                             const char *config_path, const int *listeners,
                             const struct agent_host *host, struct err_info *info);

/* Starts the work; loop_run() does the rest, until SIGTERM, SIGINT or `forget`. */
void agent_start(struct agent *a);

/* What `status --json` shows; the caller's. NULL when out of memory. */
json_t *agent_status(const struct agent *a);

/* "*.<id>.<zone>". */
const char *agent_name(const struct agent *a);

/* Gets a new certificate now. */
void agent_renew(struct agent *a);

void agent_free(struct agent *a);

#endif
