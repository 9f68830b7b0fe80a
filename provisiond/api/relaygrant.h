/* relaygrant.h - the relay that a device is bound to, and its ticket for it. Pure but for the
 * configuration; any thread. */
#ifndef LANYARD_PROVISIOND_API_RELAYGRANT_H
#define LANYARD_PROVISIOND_API_RELAYGRANT_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "provisiond/config.h"
#include "provisiond/core/relaypick.h"

#define RELAYGRANT_LIFE_S 86400 /* of a ticket: four reports */
#define RELAYGRANT_HOST_MAX 280 /* bytes with the NUL */

/* Finds the relay of the device `id` in `z`, which says that it cannot reach those of `failed`
 * (NULL: none), and the name by which browsers come to it there: `host`. False when there is none,
 * or when its address can have no name in the zone, which then has no tag keys. Wipe relay->keys.
 */
bool relaygrant_find(struct relays_entry *relay, char host[RELAYGRANT_HOST_MAX],
                     const struct config *c, const struct config_zone *z, const char *id,
                     const struct relaypick_failed *failed);

/* What the device is told of it, with a new ticket: JSON null when there is none; NULL when out of
 * memory. */
json_t *relaygrant_json(const struct config *c, const struct config_zone *z, const char *id,
                        const struct relaypick_failed *failed, int64_t now_s);

#endif
