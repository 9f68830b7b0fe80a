/* lease.h - the name servers that the network told this device of, in what DHCP clients and others
 * leave on the disk. Pure; no allocation; any thread. */
#ifndef LANYARD_AGENT_CORE_LEASE_H
#define LANYARD_AGENT_CORE_LEASE_H

#include <stddef.h>
#include <stdint.h>

#include "agent/core/resolvconf.h"
#include "common/base/span.h"

enum lease_form {
    LEASE_RESOLVCONF, /* dhcpcd, NetworkManager: as resolv.conf */
    LEASE_NETWORKD,   /* systemd-networkd: "DNS=" and addresses with blanks between */
    LEASE_DHCLIENT, /* ISC dhclient: statements in braces, the last lease counts [dhclient.conf(5)]
                     */
};

/* Writes the servers in their order, each once; what is no address is passed over, and so is a
 * lease that says it ended before `now_s`. Returns how many. */
size_t lease_servers(struct nameserver out[RESOLVCONF_MAX], enum lease_form form, struct span text,
                     int64_t now_s);

#endif
