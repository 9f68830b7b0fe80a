/* resolvconf.h - the name servers in the text of a resolv.conf [resolv.conf(5)]. Pure; no
 * allocation; any thread. */
#ifndef LANYARD_AGENT_CORE_RESOLVCONF_H
#define LANYARD_AGENT_CORE_RESOLVCONF_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/span.h"
#include "common/dns/iplabel.h"

#define RESOLVCONF_MAX 8

struct nameserver {
    struct ip ip;
    char interface[16]; /* of a link-local address; "" for none */
};

/* Reads "192.168.1.1" or "fe80::1%eth0"; false for anything else. */
bool nameserver_parse(struct nameserver *out, struct span word);

/* Whether `one` is among the `n` of `list`. */
bool nameserver_is_known(const struct nameserver *list, size_t n, const struct nameserver *one);

/* Writes the servers in their order, each once; what is no address is passed over. Returns how
 * many.
 */
size_t resolvconf_parse(struct nameserver out[RESOLVCONF_MAX], struct span text);

#endif
