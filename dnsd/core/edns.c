#include "dnsd/core/edns.h"

#define RECORD_HEAD_LEN 10 /* type, class, TTL, length */

/* Whether the option list `data` is whole. */
static bool options_are_whole(struct span data)
{
    struct wire_reader r = { .msg = data };
    while (!r.bad && r.pos < data.len) {
        (void)wire_get16(&r); /* code: none is known yet */
        uint16_t len = wire_get16(&r);
        (void)wire_get(&r, len);
    }
    return !r.bad;
}

/* One additional record; an OPT among them goes to *out and *version. */
static bool read_record(struct edns *out, unsigned *version, struct wire_reader *r)
{
    bool root = r->pos < r->msg.len && r->msg.p[r->pos] == 0;
    if (root)
        r->pos++;
    else
        wire_skip_name(r);
    const uint8_t *head = wire_get(r, RECORD_HEAD_LEN);
    if (head == NULL)
        return false;
    uint16_t type = wire_load16(head), len = wire_load16(head + 8);
    const uint8_t *data = wire_get(r, len);
    if (data == NULL)
        return false;
    if (type != RR_OPT)
        return true;
    if (!root || out->present || !options_are_whole((struct span){ data, len }))
        return false;
    out->present = true;
    out->udp_len = wire_load16(head + 2);
    *version = head[5];
    return true;
}

enum dns_rcode edns_read(struct edns *out, struct span request, size_t pos, unsigned n_skip,
                         unsigned n_additional)
{
    struct wire_reader r = { .msg = request, .pos = pos };
    unsigned version = 0;
    out->present = false;
    for (unsigned i = 0; i < n_skip && !r.bad; i++) {
        wire_skip_name(&r);
        const uint8_t *head = wire_get(&r, RECORD_HEAD_LEN);
        if (head != NULL)
            (void)wire_get(&r, wire_load16(head + 8));
    }
    for (unsigned i = 0; i < n_additional; i++) {
        if (!read_record(out, &version, &r))
            return DNS_FORMERR;
    }
    if (r.bad || r.pos != request.len)
        return DNS_FORMERR;
    return version == 0 ? DNS_NOERROR : DNS_BADVERS;
}

size_t edns_udp_limit(const struct edns *e)
{
    if (!e->present || e->udp_len < DNS_UDP_LEN)
        return DNS_UDP_LEN;
    return e->udp_len < DNS_EDNS_LEN ? e->udp_len : DNS_EDNS_LEN;
}

void edns_write(struct wire_writer *w, enum dns_rcode rcode)
{
    uint8_t *p = wire_room(w, EDNS_REPLY_LEN);
    if (p == NULL)
        return;
    p[0] = 0; /* the root */
    wire_store16(p + 1, RR_OPT);
    wire_store16(p + 3, DNS_EDNS_LEN);
    wire_store32(p + 5, (uint32_t)rcode >> 4 << 24); /* version 0, no flags: DO is ignored */
    wire_store16(p + 9, 0);
}
