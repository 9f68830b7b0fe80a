/* mapping.h - what lanyard-portmap printed, and what a port that the router maps is good for. Pure;
 * any thread. */
#ifndef LANYARD_AGENT_CORE_MAPPING_H
#define LANYARD_AGENT_CORE_MAPPING_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/span.h"
#include "common/dns/iplabel.h"

enum mapping_protocol { MAPPING_NATPMP, MAPPING_UPNP, MAPPING_PROTOCOL_N };

struct mapping {
    enum mapping_protocol protocol;
    struct ip address;  /* the router's outer one, IPv4; all zero: it has none */
    uint16_t port;      /* the outer one */
    int64_t lifetime_s; /* 0: until the router restarts */
};

/* Reads the line of JSON. Errors: ERR_REMOTE with the program's sentence when it says that there is
 * no mapping; ERR_INVALID when it says nothing of the kind; *out is then untouched. */
NODISCARD enum err mapping_parse(struct mapping *out, struct span text, struct err_info *info);

/* "natpmp" or "upnp", as the program is told. */
const char *mapping_protocol_name(enum mapping_protocol p);

/* Whether others can come by it. */
enum mapping_use {
    MAPPING_OPEN, /* as far as the router and the service know */
    MAPPING_NO_ADDRESS,
    MAPPING_INNER,    /* the router's outer address is a private one: there is a second NAT */
    MAPPING_ELSEWHERE /* the service sees another address: likewise */
};

/* `observed` is the address from which the service saw us come, NULL when that is not known. One
 * that is no public IPv4 address says nothing. */
enum mapping_use mapping_judge(const struct mapping *m, const struct ip *observed);

/* When to ask again: at half of its life [RFC 6886 s3.3], and soon enough to see that the router's
 * address is another. */
int64_t mapping_renew_in_s(const struct mapping *m);

/* Whether a datagram says that the router's address changed, or that it started anew: of NAT-PMP
 * [RFC 6886 s3.2.1] or PCP [RFC 6887 s14.1]. */
bool mapping_is_news(struct span datagram);

/* The outer port that a device asks for first, of the dynamic ones and the same each time: two
 * devices of a kind behind one router ask for two. */
uint16_t mapping_port_of(const char *id);

#endif
