/* relaypick.h - which of several relays a device is bound to: rendezvous hashing, so that each
 * device keeps its relay when others come and go, and those of one that went are spread evenly.
 * Pure; any thread. [Thaler, Ravishankar: Using name-based mappings to increase hit rates, 1998] */
#ifndef LANYARD_PROVISIOND_CORE_RELAYPICK_H
#define LANYARD_PROVISIOND_CORE_RELAYPICK_H

#include <stddef.h>

#include "common/pki/devid.h"
#include "provisiond/core/relayticket.h"

#define RELAYPICK_FAILED_MAX 8

/* Relays that a device says it cannot reach. */
struct relaypick_failed {
    size_t n;
    char names[RELAYPICK_FAILED_MAX][RELAYTICKET_NAME_MAX + 1];
};

/* The index, below `n` (1 and up), of the relay for `id`: none of `failed` (NULL: none has) unless
 * all have. The order of the names does not matter. */
size_t relaypick(const char *const *names, size_t n, const struct devid *id,
                 const struct relaypick_failed *failed);

#endif
