/* clientaddr.h - whether an address that a relay says is a client's can be one of somebody who came
 * from elsewhere: backends trust some addresses more than others. Pure; any thread. */
#ifndef LANYARD_AGENT_CORE_CLIENTADDR_H
#define LANYARD_AGENT_CORE_CLIENTADDR_H

#include <stdbool.h>

#include "common/dns/iplabel.h"

/* False when it is unspecified, loopback, link-local, multicast, reserved or IPv4 in the clothes of
 * IPv6. */
bool clientaddr_is_good(const struct ip *ip);

#endif
