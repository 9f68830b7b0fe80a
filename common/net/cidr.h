/* cidr.h - a range of addresses, "10.0.0.0/8" or "2001:db8::/32"; a single address is one, too.
 * Pure; any thread. */
#ifndef LANYARD_NET_CIDR_H
#define LANYARD_NET_CIDR_H

#include <stdbool.h>
#include <stdint.h>

#include <sys/socket.h>

#include "common/base/attr.h"
#include "common/base/err.h"

struct cidr {
    int family; /* AF_INET or AF_INET6 */
    unsigned bits;
    uint8_t bytes[16];
};

/* Errors: ERR_INVALID with a sentence; also when bits are set beyond the prefix, which is mostly a
 * slip. */
NODISCARD enum err cidr_parse(struct cidr *out, const char *text, struct err_info *info);

/* Whether the address is in it. An IPv4 address mapped into IPv6 counts as IPv4. */
bool cidr_contains(const struct cidr *c, const struct sockaddr *sa);

#endif
