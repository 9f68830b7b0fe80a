/* renewal.h - when to renew. Pure; any thread. */
#ifndef LANYARD_AGENT_CORE_RENEWAL_H
#define LANYARD_AGENT_CORE_RENEWAL_H

#include <stdint.h>

#include "common/base/span.h"

/* The renewal time, Unix seconds, of a certificate valid from `not_before_s` to `not_after_s`: two
 * thirds of its life, or half of it when that is under 10 days, and up to 2 % of the life earlier
 * by `id`, so that devices set up in one batch do not come in one batch. Always inside the
 * validity, for one that is not empty. */
int64_t renewal_at(int64_t not_before_s, int64_t not_after_s, struct span id);

#endif
