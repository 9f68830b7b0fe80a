/* resolvconf.h - the name servers in the text of a resolv.conf [resolv.conf(5)]. Pure; no
 * allocation; any thread. */
#ifndef LANYARD_AGENT_CORE_RESOLVCONF_H
#define LANYARD_AGENT_CORE_RESOLVCONF_H

#include <stddef.h>

#include "common/base/span.h"
#include "common/dns/iplabel.h"

#define RESOLVCONF_MAX 8

struct nameserver {
    struct ip ip;
    char interface[16]; /* of a link-local address; "" for none */
};

/* Writes the servers in their order, each once; what is no address is passed over. Returns how
 * many.
 */
size_t resolvconf_parse(struct nameserver out[RESOLVCONF_MAX], struct span text);

#endif
