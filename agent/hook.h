/* hook.h - runs a command, such as the reload command: by /bin/sh, in a process group of its own,
 * with a time limit, its output kept up to a cap. One run at a time. Never blocks the loop. One
 * loop, its thread. */
#ifndef LANYARD_AGENT_HOOK_H
#define LANYARD_AGENT_HOOK_H

#include <stdint.h>

#include "agent/journal.h"
#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/loop.h"

#define HOOK_NO_LIMIT INT64_C(0) /* as a timeout: until hook_end() */

struct hook; /* opaque: the runner; takes SIGCHLD of its loop */

/* Errors: ERR_NOMEM. */
NODISCARD enum err hook_new(struct hook **out, struct loop *l);

/* Starts `command` with the environment `env` ("NAME=value", NULL-terminated; nothing else is
 * inherited but PATH). After `timeout_ms` the whole process group gets SIGTERM, and two seconds
 * later SIGKILL. fn(arg, result) is called once, later; `generation` is copied into the result. The
 * run ends with the command itself: what it leaves in the background is not waited for.
 * Errors: ERR_ILLEGAL while one is running; ERR_IO when it cannot be started; no callback then. */
NODISCARD enum err hook_run(struct hook *h, const char *command, char *const env[],
                            int64_t timeout_ms, unsigned generation,
                            void (*fn)(void *arg, const struct hook_result *r), void *arg,
                            struct err_info *info);

/* Ends a run under way as its time limit would. The callback follows. */
void hook_end(struct hook *h);

/* Kills a run that is under way, without a callback, and frees the runner. */
void hook_free(struct hook *h);

#endif
