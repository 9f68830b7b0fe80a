/* slots.h - connections that wait for their device to dial back: each has a number and a secret,
 * which the device shows once. Pure: random bytes are passed in. One thread. */
#ifndef LANYARD_PROVISIOND_RELAY_SLOTS_H
#define LANYARD_PROVISIOND_RELAY_SLOTS_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/relayframe.h"

struct slots; /* opaque */

/* Room for `n` that wait at once, 1..2^20. Errors: ERR_NOMEM. */
NODISCARD enum err slots_new(struct slots **out, size_t n);
void slots_free(struct slots *s);

/* Waits for `owner`, not NULL, with the secret in key->secret, which must be fresh and random; sets
 * key->slot. Errors: ERR_LIMIT. */
NODISCARD enum err slots_put(struct slots *s, struct relayframe_key *key, void *owner);

/* The owner, who then waits no more; NULL for a secret that is wrong, late or used before. The time
 * does not tell where a wrong secret differs. */
void *slots_take(struct slots *s, const struct relayframe_key *key);

/* Who waits in `slot`, NULL when nobody does. */
void *slots_owner(const struct slots *s, uint32_t slot);

/* Ends the wait in `slot`. */
void slots_drop(struct slots *s, uint32_t slot);

#endif
