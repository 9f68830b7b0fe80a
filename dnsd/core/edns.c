#include "dnsd/core/edns.h"

#include "dnsd/core/cookie.h"

#define RECORD_HEAD_LEN 10 /* type, class, TTL, length */

/* Reads the option list `data`; false when it is not whole. However many there are of a kind, the
 * first one counts [RFC 7873 s5.2]. */
static bool read_options(struct edns *out, struct span data)
{
    struct wire_reader r = { .msg = data };
    bool had_cookie = false;
    while (!r.bad && r.pos < data.len) {
        uint16_t code = wire_get16(&r);
        uint16_t len = wire_get16(&r);
        const uint8_t *p = wire_get(&r, len);
        if (code == EDNS_NSID) {
            out->wants_nsid = true;
        } else if (code == EDNS_KEEPALIVE) {
            out->wants_keepalive = true;
        } else if (code == EDNS_PADDING) {
            out->wants_padding = true;
        } else if (code == EDNS_COOKIE && !had_cookie) {
            if (!cookie_len_is_good(len))
                return false;
            had_cookie = true;
            out->cookie = (struct span){ p, len };
        }
    }
    out->asks = had_cookie || out->wants_nsid || out->wants_keepalive || out->wants_padding;
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
    if (!root || out->present)
        return false;
    *version = edns_take_head(out, head);
    return len == 0 || read_options(out, (struct span){ data, len });
}

APART enum dns_rcode edns_read_records(struct edns *out, struct span request, size_t pos,
                                       unsigned n_skip, unsigned n_additional)
{
    struct wire_reader r = { .msg = request, .pos = pos };
    unsigned version = 0;
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

uint8_t *edns_option_add(struct edns_options *o, enum edns_option code, size_t len)
{
    if (EDNS_OPTIONS_MAX - o->len < 4 + len)
        return NULL;
    uint8_t *p = o->bytes + o->len;
    wire_store16(p, code);
    wire_store16(p + 2, (unsigned)len);
    o->len += 4 + len;
    return p + 4;
}

/* Adds padding, as far as there is room, to the OPT record at `opt`, the last one. */
static APART void pad(struct wire_writer *w, size_t opt)
{
    size_t begin = w->len + 4, room = w->cap - w->len;
    if (room < 4)
        return;
    size_t len = (EDNS_PAD_BLOCK - begin % EDNS_PAD_BLOCK) % EDNS_PAD_BLOCK;
    len = len < room - 4 ? len : room - 4;
    uint8_t *p = wire_room(w, 4 + len), *opt_len = w->p + opt + EDNS_REPLY_LEN - 2;
    wire_store16(p, EDNS_PADDING);
    wire_store16(p + 2, (unsigned)len);
    memset(p + 4, 0, len);
    wire_store16(opt_len, wire_load16(opt_len) + 4u + (unsigned)len);
}

void edns_write(struct wire_writer *w, enum dns_rcode rcode, const struct edns_options *o,
                enum edns_ede ede, bool dnssec_ok)
{
    size_t len = o->len + (ede != EDE_NONE ? EDNS_EDE_LEN : 0);
    uint8_t *p = wire_room(w, EDNS_REPLY_LEN + len);
    if (p == NULL)
        return;
    p[0] = 0; /* the root */
    wire_store16(p + 1, RR_OPT);
    wire_store16(p + 3, DNS_EDNS_LEN);
    wire_store32(p + 5,
                 (uint32_t)rcode >> 4 << 24 | (dnssec_ok ? EDNS_FLAG_DO : 0)); /* version 0 */
    wire_store16(p + 9, (unsigned)len);
    if (len == 0 && !o->pads)
        return;
    memcpy(p + EDNS_REPLY_LEN, o->bytes, o->len);
    if (ede != EDE_NONE) {
        p += EDNS_REPLY_LEN + o->len;
        wire_store16(p, EDNS_EDE);
        wire_store16(p + 2, 2);
        wire_store16(p + 4, ede);
    }
    if (o->pads)
        pad(w, w->len - EDNS_REPLY_LEN - len);
}
