/* netprint.h - a print of the network that this device is in, to be compared with that of another
 * time. The order in which the parts are added does not matter, and neither do the lifetimes of
 * addresses and routes, which each router advertisement begins anew. Pure; any thread. */
#ifndef LANYARD_AGENT_CORE_NETPRINT_H
#define LANYARD_AGENT_CORE_NETPRINT_H

#include <stdint.h>

#include "agent/core/worth.h"

struct netprint {
    uint64_t sum; /* begins as 0 */
};

/* One of ours; those that lead to no other device (down, loopback, link-local, not checked yet, of
 * containers) are left out. */
void netprint_add_address(struct netprint *p, const struct worth_address *a);

/* A way to the Internet: by this interface, its next hop and the address of ours that it sees. */
void netprint_add_way(struct netprint *p, unsigned link, const struct ip *gateway,
                      const struct ip *own);

/* As text, "192.168.1.1:53". */
void netprint_add_resolver(struct netprint *p, const char *resolver);

#endif
