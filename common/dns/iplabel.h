/* iplabel.h - an IP address as one label of a name: 192-168-1-5, fd00--1. Pure; no allocation.
 *
 * IPv4 is four decimal octets without leading zeros. IPv6 is hexadecimal RFC 4291 text with ':'
 * written '-': at most four digits a group, at most one "--", which stands for at least one group,
 * and no '-' at either end (hostnames do not allow it), so that "::1" is "0--1". */
#ifndef LANYARD_DNS_IPLABEL_H
#define LANYARD_DNS_IPLABEL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/span.h"

#define IPLABEL_TEXT_MAX 40 /* characters with the NUL: eight groups of four and seven '-' */

struct ip {
    uint8_t family;    /* 4 or 6 */
    uint8_t bytes[16]; /* network order; the first 4 for IPv4 */
};

/* What an address is to the policy of a zone. */
enum ip_class {
    IP_FORBIDDEN, /* never answered */
    IP_PRIVATE,   /* always answered */
    IP_LOOPBACK,  /* answered where the zone sets loopback */
    IP_PUBLIC     /* answered as public_answers says */
};

/* Decodes `label`, either case. Errors: ERR_INVALID; *out is then undefined. */
NODISCARD enum err iplabel_decode(struct ip *out, struct span label);

/* Writes the one spelling that we emit: RFC 5952 text with '-' for ':' and a "0" wherever that
 * would leave a '-' at an end. */
void iplabel_encode(const struct ip *ip, char out[IPLABEL_TEXT_MAX]);

enum ip_class ip_classify(const struct ip *ip);

#endif
