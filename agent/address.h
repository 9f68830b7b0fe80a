/* address.h - the private addresses of this device, and the URLs that follow from them. Asks the
 * system each time; any thread. */
#ifndef LANYARD_AGENT_ADDRESS_H
#define LANYARD_AGENT_ADDRESS_H

#include <stddef.h>

#include <jansson.h>

#include "agent/config.h"
#include "common/dns/iplabel.h"

#define ADDRESS_MAX 64

/* Writes up to ADDRESS_MAX addresses: those that the configuration names, and with "auto" the
 * private ones of the interfaces that are up. Returns how many. */
size_t address_list(const struct config *c, struct ip out[ADDRESS_MAX]);

/* Adds "https://<ip>.<id>.<zone>[:port]/" to the JSON array `urls` for each address and each proxy
 * that listens there; without any proxy, for each address. */
void address_add_urls(const struct config *c, const char *id, json_t *urls);

#endif
