/* lookup.h - devices by their ids, from the database to the answer. Private to discovery/. */
#ifndef LANYARD_PROVISIOND_DISCOVERY_LOOKUP_H
#define LANYARD_PROVISIOND_DISCOVERY_LOOKUP_H

#include "provisiond/discovery/visit.h"

/* On the store thread: v->devices becomes an array of the `n` devices; those that are not active
 * any more are left out. */
NODISCARD enum err lookup_devices(struct visit *v, struct sql *db, char (*ids)[DEVID_LEN + 1],
                                  size_t n, int64_t now_s);

/* On the loop: ends the visit with {"network", "devices"}. */
void lookup_respond(struct visit *v);

/* The name by which a browser remembers what worked in its network: nothing can be read from it but
 * by who is in that network. A new reference. */
json_t *lookup_network(const struct visit *v);

#endif
