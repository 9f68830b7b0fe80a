/* edns.h - the OPT record of requests and replies. Pure; no allocation. [RFC 6891] */
#ifndef LANYARD_DNSD_CORE_EDNS_H
#define LANYARD_DNSD_CORE_EDNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/span.h"
#include "common/dns/rr.h"
#include "common/dns/wire.h"

#define EDNS_REPLY_LEN 11 /* bytes of our OPT record: it has no options yet */

struct edns {
    bool present;
    uint16_t udp_len; /* what the client takes over UDP; only when present */
};

/* Reads the records of `request` from `pos` to its end: `n_skip` are passed over, then
 * `n_additional`, among which one OPT may be. DNS_NOERROR; DNS_FORMERR for a broken record, a
 * second OPT, options that do not fill its data, or bytes after the last record; DNS_BADVERS for
 * another version than 0. out->present is right in each case. */
enum dns_rcode edns_read(struct edns *out, struct span request, size_t pos, unsigned n_skip,
                         unsigned n_additional);

/* Bytes that a reply over UDP may have. */
size_t edns_udp_limit(const struct edns *e);

/* Writes the OPT record of a reply with the upper bits of `rcode`. */
void edns_write(struct wire_writer *w, enum dns_rcode rcode);

#endif
