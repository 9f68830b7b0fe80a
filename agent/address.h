/* address.h - the addresses of this device by which others may come, and the URLs that follow from
 * them. Asks the system each time; any thread. */
#ifndef LANYARD_AGENT_ADDRESS_H
#define LANYARD_AGENT_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "agent/config.h"
#include "agent/core/reported.h"
#include "agent/core/worth.h"
#include "common/dns/iplabel.h"

#define ADDRESS_MAX 64

/* Writes up to `cap` addresses, best first: those that the configuration names, in its order, and
 * with "auto" those of the interfaces that are worth telling (agent/core/worth.h), global ones
 * included. Returns how many. */
size_t address_worth(const struct config *c, struct worth_pick *out, size_t cap);

/* The same, up to ADDRESS_MAX, without the global ones that the configuration does not name: what
 * has a name without the service's help. */
size_t address_list(const struct config *c, struct ip out[ADDRESS_MAX]);

/* Whether a socket bound to `listen` takes connections to `ip`; its port. */
bool address_serves(const struct addr *listen, const struct ip *ip);
unsigned address_port(const struct addr *listen);

/* Whether `ip` is of an interface of ours, so that a connection can come from it. */
bool address_is_own(const struct ip *ip);

/* Adds "https://<ip>.<id>.<zone>[:port]/" to the JSON array `urls` for each address and each proxy
 * that listens there; without any proxy, for each address. Public addresses come last, those that
 * `reported` (NULL: none) has a name for. */
void address_add_urls(const struct config *c, const char *id, const struct reported *reported,
                      json_t *urls);

/* The port of such a URL. */
uint16_t address_url_port(const char *url);

#endif
