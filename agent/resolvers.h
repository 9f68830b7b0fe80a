/* resolvers.h - the resolvers that this device and its network use: those that the configuration
 * names, and with "auto" those of resolv.conf, the ones behind systemd-resolved, the router, and
 * those that the network named to a DHCP client of this device.
 * Reads files and asks the kernel each time; any thread. */
#ifndef LANYARD_AGENT_RESOLVERS_H
#define LANYARD_AGENT_RESOLVERS_H

#include <stddef.h>

#include "agent/config.h"
#include "agent/core/verdict.h"
#include "common/net/addr.h"

struct resolver {
    struct addr addr;
    enum verdict_source source;
};

/* Writes each once; returns how many. */
size_t resolvers_list(const struct config *c, struct resolver out[VERDICT_RESOLVERS_MAX]);

#endif
