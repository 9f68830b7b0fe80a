/* edns.h - the OPT record of requests and replies. Pure; no allocation. [RFC 6891] */
#ifndef LANYARD_DNSD_CORE_EDNS_H
#define LANYARD_DNSD_CORE_EDNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/span.h"
#include "common/dns/rr.h"
#include "common/dns/wire.h"

#define EDNS_REPLY_LEN 11    /* bytes of our OPT record without options */
#define EDNS_OPTIONS_MAX 128 /* bytes of options in a reply */
#define EDNS_EDE_LEN 6       /* bytes of an extended error without text */
#define EDNS_PAD_BLOCK 468   /* padded replies have a multiple of it [RFC 8467 s4.1] */
#define EDNS_FLAG_DO 0x8000u
#define EDNS_FLAG_CO 0x4000u

enum edns_option {
    EDNS_NSID = 3,
    EDNS_COOKIE = 10,
    EDNS_KEEPALIVE = 11,
    EDNS_PADDING = 12,
    EDNS_EDE = 15
};

/* Why a reply is what it is. [RFC 8914] */
enum edns_ede {
    EDE_NONE = 0, /* which would be "other error": nothing that helps */
    EDE_NOT_READY = 14,
    EDE_BLOCKED = 15,
    EDE_NOT_AUTHORITATIVE = 20,
    EDE_NOT_SUPPORTED = 21,
    EDE_INVALID_QUERY_TYPE = 30
};

struct edns {
    bool present;
    bool asks; /* one of these is wanted, or a cookie is there */
    bool wants_nsid;
    bool wants_keepalive; /* to be told how long the connection may be idle [RFC 7828] */
    bool wants_padding;   /* the length of the reply is to tell nothing [RFC 7830] */
    bool dnssec_ok;       /* DO: signatures are wanted [RFC 3225] */
    bool compact_ok;      /* CO: NXDOMAIN may go with a compact denial [RFC 9824 s5.1] */
    uint16_t udp_len;     /* what the client takes over UDP; only when present */
    struct span cookie;   /* data of the first COOKIE option, of a good length; NULL for none */
};

/* What our OPT record holds beside an extended error. */
struct edns_options {
    bool pads; /* and padding behind them */
    size_t len;
    uint8_t bytes[EDNS_OPTIONS_MAX];
};

/* Takes what the head of an OPT record says, from its type on. Returns the version. */
static inline unsigned edns_take_head(struct edns *out, const uint8_t *head)
{
    out->present = true;
    out->udp_len = wire_load16(head + 2);
    out->dnssec_ok = (head[6] & EDNS_FLAG_DO >> 8) != 0;
    out->compact_ok = (head[6] & EDNS_FLAG_CO >> 8) != 0;
    return head[5];
}

/* Whether the EDNS_REPLY_LEN bytes at `p` are an OPT record without options. */
static inline bool edns_is_plain(const uint8_t *p)
{
    return p[0] == 0 && wire_load16(p + 1) == RR_OPT && wire_load16(p + 9) == 0;
}

/* What edns_read() does where there are other records than that. */
enum dns_rcode edns_read_records(struct edns *out, struct span request, size_t pos, unsigned n_skip,
                                 unsigned n_additional);

/* Reads the records of `request` from `pos` to its end: `n_skip` are passed over, then
 * `n_additional`, among which one OPT may be. DNS_NOERROR; DNS_FORMERR for a broken record, a
 * second OPT, options that do not fill its data, a COOKIE of a wrong length, or bytes after the
 * last record; DNS_BADVERS for another version than 0. out->present is right in each case; the
 * cookie is borrowed of `request`. */
static inline enum dns_rcode edns_read(struct edns *out, struct span request, size_t pos,
                                       unsigned n_skip, unsigned n_additional)
{
    *out = (struct edns){ .present = false };
    if ((n_skip | n_additional) == 0)
        return pos == request.len ? DNS_NOERROR : DNS_FORMERR;
    const uint8_t *p = request.p + pos;
    if (request.len - pos == EDNS_REPLY_LEN && n_additional == 1 && n_skip == 0 && edns_is_plain(p))
        return edns_take_head(out, p + 1) == 0 ? DNS_NOERROR : DNS_BADVERS; /* as of most */
    return edns_read_records(out, request, pos, n_skip, n_additional);
}

/* Bytes that a reply over UDP may have. */
static inline size_t edns_udp_limit(const struct edns *e)
{
    if (!e->present || e->udp_len < DNS_UDP_LEN)
        return DNS_UDP_LEN;
    return e->udp_len < DNS_EDNS_LEN ? e->udp_len : DNS_EDNS_LEN;
}

/* Adds an option of `len` bytes, whose room is returned; NULL when there is none. */
uint8_t *edns_option_add(struct edns_options *o, enum edns_option code, size_t len);

/* Writes the OPT record of a reply, which ends it: the upper bits of `rcode`, `o` with padding as
 * far as there is room, `ede`, and DO as it was asked. */
void edns_write(struct wire_writer *w, enum dns_rcode rcode, const struct edns_options *o,
                enum edns_ede ede, bool dnssec_ok);

#endif
