/* backoff.h - how long to wait after failures: 1, 5, 15, 60 and then 240 units. Pure; any thread.
 */
#ifndef LANYARD_AGENT_CORE_BACKOFF_H
#define LANYARD_AGENT_CORE_BACKOFF_H

#include <stdint.h>

/* Seconds to wait after `attempts` failures in a row (0 is no wait). `unit_s` is the first wait,
 * normally 60. With `life_s` above 0, the life of the certificate in place, no wait is longer than
 * a sixteenth of it (but 5 seconds): short-lived certificates must not run out between two
 * attempts. A quarter more is added by `random`, so that a fleet does not come back as one. */
int64_t backoff_delay_s(unsigned attempts, int64_t unit_s, int64_t life_s, uint32_t random);

/* Seconds from `now_s` to `due_at`, both Unix seconds: 0 when past; never more than `max_s`, which
 * bounds the harm of a clock that was ahead when `due_at` was stored. */
int64_t backoff_remaining_s(int64_t due_at, int64_t now_s, int64_t max_s);

#endif
