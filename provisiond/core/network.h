/* network.h - an address as it is kept and compared: its text, and the network that a household
 * shares. Pure. */
#ifndef LANYARD_PROVISIOND_CORE_NETWORK_H
#define LANYARD_PROVISIOND_CORE_NETWORK_H

#include <stdbool.h>

#include "common/base/attr.h"
#include "common/base/span.h"
#include "common/dns/iplabel.h"

#define NETWORK_TEXT_MAX 56 /* bytes with the NUL, of either text */

/* The address from the 4 or 16 bytes of a socket address; an IPv4-mapped one is IPv4. False for any
 * other length. */
NODISCARD bool network_ip(struct ip *out, struct span bytes);

/* The same from text. */
NODISCARD bool network_parse(struct ip *out, const char *text);

bool network_equal(const struct ip *a, const struct ip *b);

/* "192.0.2.1", or RFC 5952 text. */
void network_address_text(const struct ip *ip, char out[NETWORK_TEXT_MAX]);

/* What those behind one router have in common: the IPv4 address itself, or the IPv6 /64, as in
 * "2001:db8:1:2::/64". */
void network_text(const struct ip *ip, char out[NETWORK_TEXT_MAX]);

#endif
