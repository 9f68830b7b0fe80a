/* mdns.h - tells the home network of this device's secure URL: DNS-SD [RFC 6763] through Avahi,
 * which is asked by its own program avahi-publish, or, where there is no D-Bus, by a service file.
 * One loop, its thread. */
#ifndef LANYARD_AGENT_MDNS_H
#define LANYARD_AGENT_MDNS_H

#include <stdint.h>

#include <jansson.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/loop.h"

#define MDNS_TYPE "_https._tcp"
#define MDNS_SUBTYPE "_lanyard._sub._https._tcp" /* only devices with a Lanyard agent */

struct mdns; /* opaque */

/* `service_file` (copied): the path ending in ".service" that avahi-daemon reads; NULL: run
 * avahi-publish. Errors: ERR_NOMEM. */
NODISCARD enum err mdns_new(struct mdns **out, struct loop *l, const char *service_file);

/* Tells of the device `id` at `url` and `port` from now on, by the name of this host; cheap when it
 * is the same as before. `url` NULL: of nothing. */
void mdns_set(struct mdns *m, const char *id, const char *url, uint16_t port);

/* For `status`: {"state": "told" | "nothing" | "failed", "name", "text"}. The caller's; NULL when
 * out of memory. */
json_t *mdns_to_json(const struct mdns *m);

/* Takes back what was told. */
void mdns_free(struct mdns *m);

#endif
