/* probe.h - looks, by questions of its own to each resolver, whether the names of this device can
 * be resolved in its network (core/verdict says what the answers mean). At most about ten questions
 * to each, four at a time, of which six can follow each other: a look ends within 18 seconds (who
 * does not answer at all is known after three), or 36 where answers are truncated and TCP hangs
 * (core/tries). One loop, its thread. */
#ifndef LANYARD_AGENT_PROBE_H
#define LANYARD_AGENT_PROBE_H

#include <stdbool.h>

#include "agent/config.h"
#include "agent/core/verdict.h"
#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/loop.h"

struct probe; /* opaque */

/* For the device `id` (copied) in the zone of `config` (borrowed). fn(arg) is called at the end of
 * each look; it must not free the probe. Errors: ERR_NOMEM, ERR_INVALID. */
NODISCARD enum err probe_new(struct probe **out, struct loop *l, const struct config *config,
                             const char *id, void (*fn)(void *arg), void *arg);

/* Another configuration of the same zone, from the next look on. */
void probe_set_config(struct probe *p, const struct config *config);

/* The public IPv6 address of this device and the label of its name, "p<tag>-<ip>"; family 0: none
 * (any more). From the next look on. */
void probe_set_public(struct probe *p, const struct ip *ip, const char *label);

/* Starts a look; while one is under way, another follows it. */
void probe_start(struct probe *p);

bool probe_is_running(const struct probe *p);

/* What the last look found; NULL before the first. Borrowed until the next one ends. */
const struct verdict_report *probe_report(const struct probe *p);

void probe_free(struct probe *p);

/* One look on a loop of its own, for a command: blocking. *out is the caller's: free(). Errors:
 * ERR_NOMEM. */
NODISCARD enum err probe_once(struct verdict_report **out, const struct config *config,
                              const char *id, struct err_info *info);

#endif
