/* lookup.h - one question to a resolver as a DNS message, and what the answer to it says. Pure; no
 * allocation; any thread. */
#ifndef LANYARD_AGENT_CORE_LOOKUP_H
#define LANYARD_AGENT_CORE_LOOKUP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/span.h"
#include "common/dns/iplabel.h"
#include "common/dns/name.h"
#include "common/dns/rr.h"

#define LOOKUP_QUERY_MAX (DNS_HEADER_LEN + NAME_WIRE_MAX + 4 + 11) /* bytes */
#define LOOKUP_IPS_MAX 4
#define LOOKUP_TEXT_MAX 256 /* characters with the NUL */

struct lookup {
    uint16_t id; /* random, so that nobody can guess it */
    struct name name;
    uint16_t type, class;
    bool unchecked; /* DO and CD: the answer as it is, validated or not [RFC 4035 s3.2.2] */
};

struct lookup_reply {
    unsigned rcode; /* enum dns_rcode */
    bool truncated; /* nothing below is known: ask over TCP */
    bool zone_soa;  /* the authority section has the SOA of the zone */
    int ede;        /* the first extended error [RFC 8914]; -1 for none */
    size_t n_answers;
    size_t n_ips; /* addresses of the type asked for, whoever's they are; more are left out */
    struct ip ips[LOOKUP_IPS_MAX];
    char text[LOOKUP_TEXT_MAX]; /* of the first TXT, NS or PTR, if that was asked for; printable */
};

/* Writes the query: recursion and AD wanted, EDNS with 1232 bytes. Returns its length. */
size_t lookup_write(const struct lookup *q, uint8_t out[LOOKUP_QUERY_MAX]);

/* Reads the answer to `q`. Errors: ERR_INVALID for bytes that are no answer to it (another id,
 * another question, no answer at all, malformed): go on waiting; *out is then undefined. */
NODISCARD enum err lookup_read(struct lookup_reply *out, const struct lookup *q,
                               const struct name *zone, struct span msg);

#endif
