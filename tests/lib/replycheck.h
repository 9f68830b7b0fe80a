/* replycheck.h - what holds for every reply of a name server, whatever was asked; for fuzz targets,
 * which abort where it does not. */
#ifndef LANYARD_TESTS_REPLYCHECK_H
#define LANYARD_TESTS_REPLYCHECK_H

#include <stdlib.h>
#include <string.h>

#include <ldns/ldns.h>

static inline void replycheck_question(const uint8_t *reply, size_t len, const uint8_t *data,
                                       size_t size)
{
    unsigned n = (unsigned)(reply[4] << 8 | reply[5]);
    if (n > 1)
        abort();
    if (n == 0)
        return;
    size_t at = 12;
    while (at < len && at < size && reply[at] != 0)
        at += 1u + reply[at];
    at += 5;
    if (at > len || at > size || memcmp(reply + 12, data + 12, at - 12) != 0)
        abort();
}

/* The reply of `len` bytes to the `size` bytes of `data`, as a parser that is not ours reads it.
 * The caller frees it by ldns_pkt_free(). */
static inline ldns_pkt *replycheck_read(const uint8_t *reply, size_t len, const uint8_t *data,
                                        size_t size)
{
    if (len < 12 || size < 12 || (data[2] & 0x80) != 0)
        abort();
    if (reply[0] != data[0] || reply[1] != data[1] || (reply[2] & 0x80) == 0 ||
        ((reply[2] ^ data[2]) & 0x79) != 0 || (reply[3] & 0xf0) != 0)
        abort();
    replycheck_question(reply, len, data, size);
    ldns_pkt *p = NULL;
    if (ldns_wire2pkt(&p, reply, len) != LDNS_STATUS_OK)
        abort();
    /* an OPT record is among the additional count, but not among ldns' list */
    if (ldns_rr_list_rr_count(ldns_pkt_answer(p)) != ldns_pkt_ancount(p) ||
        ldns_rr_list_rr_count(ldns_pkt_authority(p)) != ldns_pkt_nscount(p))
        abort();
    if (ldns_pkt_tc(p) && (ldns_pkt_ancount(p) != 0 || ldns_pkt_nscount(p) != 0))
        abort();
    return p;
}

#endif
