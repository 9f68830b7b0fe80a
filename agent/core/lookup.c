#include "agent/core/lookup.h"

#include <string.h>

#include "common/dns/wire.h"

#define FLAG_AD 0x0020u
#define FLAG_CD 0x0010u
#define EDNS_DO 0x8000u
#define OPTION_EDE 15

enum section { SECTION_ANSWER, SECTION_AUTHORITY, SECTION_ADDITIONAL };

size_t lookup_write(const struct lookup *q, uint8_t out[LOOKUP_QUERY_MAX])
{
    struct wire_writer w = { .p = out, .cap = LOOKUP_QUERY_MAX };
    wire_put16(&w, q->id);
    wire_put16(&w, DNS_FLAG_RD | FLAG_AD | (q->unchecked ? FLAG_CD : 0));
    wire_put16(&w, 1);
    wire_put16(&w, 0);
    wire_put16(&w, 0);
    wire_put16(&w, 1);
    wire_put(&w, q->name.wire, q->name.len);
    wire_put16(&w, q->type);
    wire_put16(&w, q->class);
    wire_put(&w, "", 1); /* the root owns the OPT record [RFC 6891 s6.1.2] */
    wire_put16(&w, RR_OPT);
    wire_put16(&w, DNS_EDNS_LEN);
    wire_put32(&w, q->unchecked ? EDNS_DO : 0);
    wire_put16(&w, 0);
    return w.len;
}

/* Reads a name, following compression pointers: each must lead further back than the one before, so
 * there is an end to them. */
static void get_name(struct wire_reader *r, struct name *out)
{
    uint8_t wire[NAME_WIRE_MAX];
    struct wire_reader at = *r;
    size_t len = 0, limit = r->pos;
    wire_skip_name(r);
    while (!r->bad) {
        const uint8_t *p = wire_get(&at, 1);
        if (p != NULL && (*p & 0xc0) == 0xc0) {
            const uint8_t *low = wire_get(&at, 1);
            size_t to = low == NULL ? limit : (size_t)(*p & 0x3f) << 8 | *low;
            if (to >= limit)
                break;
            limit = at.pos = to;
            continue;
        }
        const uint8_t *label = p == NULL || *p > NAME_LABEL_MAX ? NULL : wire_get(&at, *p);
        if (label == NULL || len + 1u + *p > sizeof wire)
            break;
        wire[len++] = *p;
        memcpy(wire + len, label, *p);
        len += *p;
        if (*p == 0) {
            r->bad = name_read(out, (struct span){ wire, len }) != ERR_OK;
            return;
        }
    }
    r->bad = true;
}

static bool same_name(const struct name *a, const struct name *b)
{
    return a->len == b->len && memcmp(a->wire, b->wire, a->len) == 0;
}

static void set_text(char out[LOOKUP_TEXT_MAX], const uint8_t *p, size_t len)
{
    size_t n = len < LOOKUP_TEXT_MAX ? len : LOOKUP_TEXT_MAX - 1;
    for (size_t i = 0; i < n; i++)
        out[i] = p[i] >= 0x20 && p[i] <= 0x7e ? (char)p[i] : '?';
    out[n] = 0;
}

static void take_ip(struct lookup_reply *out, uint8_t family, const uint8_t *p, size_t len)
{
    if (len != (family == 4 ? 4 : 16) || out->n_ips == LOOKUP_IPS_MAX)
        return;
    struct ip *ip = &out->ips[out->n_ips++];
    *ip = (struct ip){ .family = family };
    memcpy(ip->bytes, p, len);
}

/* The data of a record that was asked for; `r` is at its start. */
static void take_answer(struct lookup_reply *out, uint16_t type, struct wire_reader r, size_t len)
{
    char text[NAME_TEXT_MAX];
    struct name target;
    const uint8_t *p = r.msg.p + r.pos;
    switch (type) {
    case RR_A:
        take_ip(out, 4, p, len);
        break;
    case RR_AAAA:
        take_ip(out, 6, p, len);
        break;
    case RR_TXT:
        if (out->text[0] == 0 && len > 0 && p[0] < len)
            set_text(out->text, p + 1, p[0]);
        break;
    case RR_NS:
    case RR_PTR:
        get_name(&r, &target);
        if (r.bad || out->text[0] != 0)
            break;
        name_format(&target, text);
        set_text(out->text, (const uint8_t *)text, strlen(text));
        break;
    default:
        break;
    }
}

/* The options of an OPT record. */
static void take_options(struct lookup_reply *out, struct span data)
{
    struct wire_reader r = { .msg = data };
    while (!r.bad && r.pos < data.len) {
        uint16_t code = wire_get16(&r), len = wire_get16(&r);
        const uint8_t *p = wire_get(&r, len);
        if (p != NULL && code == OPTION_EDE && len >= 2 && out->ede < 0)
            out->ede = wire_load16(p);
    }
}

static void take_record(struct lookup_reply *out, const struct lookup *q, const struct name *zone,
                        struct wire_reader *r, enum section section)
{
    struct name owner;
    get_name(r, &owner);
    uint16_t type = wire_get16(r), class = wire_get16(r);
    uint32_t ttl = wire_get32(r);
    uint16_t len = wire_get16(r);
    struct wire_reader data = *r;
    const uint8_t *p = wire_get(r, len);
    if (p == NULL)
        return;
    if (section == SECTION_ANSWER) {
        out->n_answers++;
        if (type == q->type && class == q->class)
            take_answer(out, type, data, len);
    } else if (section == SECTION_AUTHORITY) {
        out->zone_soa |= type == RR_SOA && class == RR_CLASS_IN && same_name(&owner, zone);
    } else if (type == RR_OPT) {
        out->rcode |= (unsigned)(ttl >> 24) << 4;
        take_options(out, (struct span){ p, len });
    }
}

enum err lookup_read(struct lookup_reply *out, const struct lookup *q, const struct name *zone,
                     struct span msg)
{
    struct wire_reader r = { .msg = msg };
    struct name name;
    unsigned counts[3];
    bool ours = wire_get16(&r) == q->id;
    unsigned flags = wire_get16(&r);
    ours = wire_get16(&r) == 1 && ours;
    for (size_t i = 0; i < ARRAY_LEN(counts); i++)
        counts[i] = wire_get16(&r);
    get_name(&r, &name);
    ours = wire_get16(&r) == q->type && wire_get16(&r) == q->class && ours;
    if (r.bad || !ours || (flags & DNS_FLAG_QR) == 0 || (flags & DNS_FLAG_OPCODE) != 0 ||
        !same_name(&name, &q->name))
        return ERR_INVALID;
    *out = (struct lookup_reply){ .rcode = flags & DNS_FLAG_RCODE,
                                  .truncated = (flags & DNS_FLAG_TC) != 0,
                                  .ede = -1 };
    if (out->truncated)
        return ERR_OK;
    for (unsigned section = 0; section < ARRAY_LEN(counts); section++) {
        for (unsigned i = 0; i < counts[section] && !r.bad; i++)
            take_record(out, q, zone, &r, (enum section)section);
    }
    return r.bad ? ERR_INVALID : ERR_OK;
}
