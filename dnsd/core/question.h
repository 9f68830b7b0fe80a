/* question.h - the header and the question of a request. Pure; no allocation. */
#ifndef LANYARD_DNSD_CORE_QUESTION_H
#define LANYARD_DNSD_CORE_QUESTION_H

#include <stdbool.h>

#include "common/base/span.h"
#include "common/dns/name.h"
#include "common/dns/rr.h"

struct question {
    uint16_t flags;  /* second 16 bits of the header, as received */
    uint16_t n_skip; /* records of the answer and authority sections */
    uint16_t n_additional;
    uint16_t type;
    uint16_t class;
    bool none;        /* no question at all, which is good for nothing but a cookie */
    size_t end;       /* where the question ends in the message; 12 when none could be read */
    struct name name; /* only when end > 12 */
};

/* Whether `request` deserves a reply at all: a whole header, and not itself a reply. */
static inline bool question_is_request(struct span request)
{
    return request.len >= DNS_HEADER_LEN && (request.p[2] & 0x80) == 0;
}

/* Reads the header and the one question of `request`, for which question_is_request() holds.
 * DNS_NOERROR, or what to reply: DNS_NOTIMP for another opcode than QUERY; DNS_FORMERR when there
 * is not exactly one question (`none` tells), when its name is compressed or broken [RFC 9619]. The
 * records after the question are edns_read()'s. */
enum dns_rcode question_read(struct question *out, struct span request);

#endif
