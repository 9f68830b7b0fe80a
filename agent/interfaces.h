/* interfaces.h - the addresses of this device with what the kernel knows of them, and the gateway
 * [rtnetlink(7)]. Asks the kernel each time, which answers at once; any thread. */
#ifndef LANYARD_AGENT_INTERFACES_H
#define LANYARD_AGENT_INTERFACES_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

#include "agent/core/worth.h"

#define INTERFACES_MAX 256 /* addresses; a host of containers may have more, which are left out */

/* Writes up to `cap` addresses of all interfaces to `out` and returns how many: 0, too, when the
 * system does not tell. */
size_t interfaces_list(struct worth_address *out, size_t cap);

/* The way to the Internet. */
struct interfaces_way {
    unsigned link;          /* number of the interface; 0: there is no way */
    struct ip gateway, own; /* the next hop, and the address of ours that it sees; family 0: none */
};

/* `family` is 4 or 6. */
struct interfaces_way interfaces_way_out(unsigned family);

/* The next hop and the address of ours over IPv4. False when one is missing. */
bool interfaces_gateway(struct in_addr *gateway, struct in_addr *own);

#endif
