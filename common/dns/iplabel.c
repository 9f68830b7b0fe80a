#include "common/dns/iplabel.h"

#include <stdio.h>
#include <string.h>

/* Value of a hexadecimal digit of either case, 16 for anything else. */
static unsigned hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10u : 16;
}

/* The decimal octet at *p, before `end`; 256 or more when there is none. Moves *p behind it. */
static inline unsigned octet(const uint8_t **p, const uint8_t *end)
{
    const uint8_t *c = *p;
    unsigned digit, v = c < end ? (unsigned)*c++ - '0' : 256;
    if (v > 9)
        return 256;
    if (v > 0 && c < end && (digit = (unsigned)*c - '0') <= 9) { /* no leading zeros */
        c++;
        v = v * 10 + digit;
        if (c < end && (digit = (unsigned)*c - '0') <= 9) {
            c++;
            v = v * 10 + digit;
        }
    }
    *p = c;
    return v;
}

static bool decode4(uint8_t out[4], struct span label)
{
    const uint8_t *p = label.p, *end = label.p + label.len;
    for (unsigned i = 0; i < 4; i++) {
        unsigned v = octet(&p, end);
        if (v > 255 || (i < 3 && (p == end || *p++ != '-')))
            return false;
        out[i] = (uint8_t)v;
    }
    return p == end;
}

static bool decode6(uint8_t out[16], struct span label)
{
    unsigned n = 0, gap = 8; /* groups so far; the groups before "--", 8 when there is none */
    size_t pos = 0;
    for (;;) {
        unsigned v = 0, digits = 0, d;
        for (; pos < label.len && (d = hex_value(label.p[pos])) < 16; pos++, digits++)
            v = (v << 4 | d) & 0xffff;
        if (digits == 0 || digits > 4 || n == 8)
            return false;
        out[2 * n] = (uint8_t)(v >> 8);
        out[2 * n + 1] = (uint8_t)v;
        n++;
        if (pos == label.len)
            break;
        if (label.p[pos++] != '-')
            return false;
        if (pos < label.len && label.p[pos] == '-') {
            if (gap != 8)
                return false;
            gap = n;
            pos++;
        }
    }
    if (gap == 8)
        return n == 8;
    if (n == 8) /* "--" would stand for nothing */
        return false;
    unsigned tail = n - gap;
    memmove(out + 16 - (size_t)2 * tail, out + (size_t)2 * gap, (size_t)2 * tail);
    memset(out + (size_t)2 * gap, 0, (size_t)2 * (8 - n));
    return true;
}

enum err iplabel_decode(struct ip *out, struct span label)
{
    if (decode4(out->bytes, label)) {
        out->family = 4;
        return ERR_OK;
    }
    out->family = 6;
    return label.len < IPLABEL_TEXT_MAX && decode6(out->bytes, label) ? ERR_OK : ERR_INVALID;
}

/* The leftmost of the longest runs of two or more zero groups [RFC 5952 s4.2]; *len is 0 for none.
 */
static unsigned longest_zeros(const uint16_t g[8], unsigned *len)
{
    unsigned best = 0, from = 0;
    *len = 0;
    for (unsigned i = 0; i <= 8; i++) {
        if (i < 8 && g[i] == 0)
            continue;
        if (i - from >= 2 && i - from > *len) {
            best = from;
            *len = i - from;
        }
        from = i + 1;
    }
    return best;
}

void iplabel_encode(const struct ip *ip, char out[IPLABEL_TEXT_MAX])
{
    const uint8_t *b = ip->bytes;
    if (ip->family == 4) {
        (void)snprintf(out, IPLABEL_TEXT_MAX, "%u-%u-%u-%u", b[0], b[1], b[2], b[3]);
        return;
    }
    uint16_t g[8];
    for (unsigned i = 0; i < 8; i++)
        g[i] = (uint16_t)(b[2 * i] << 8 | b[2 * i + 1]);
    unsigned run, at = longest_zeros(g, &run);
    size_t n = 0;
    for (unsigned i = 0; i < 8; i++) {
        if (run > 0 && i == at) {
            /* a label neither begins nor ends with '-' */
            n += (size_t)snprintf(out + n, IPLABEL_TEXT_MAX - n, "%s--%s", i == 0 ? "0" : "",
                                  i + run == 8 ? "0" : "");
            i += run - 1;
            continue;
        }
        bool joined = i > 0 && !(run > 0 && i == at + run);
        n += (size_t)snprintf(out + n, IPLABEL_TEXT_MAX - n, "%s%x", joined ? "-" : "",
                              (unsigned)g[i]);
    }
}

static enum ip_class classify4(const uint8_t b[4])
{
    uint32_t a = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
    if (a == 0xa9fea9fe) /* 169.254.169.254: the metadata service of clouds */
        return IP_FORBIDDEN;
    if (b[0] == 10 || (a & 0xfff00000) == 0xac100000 || (a & 0xffff0000) == 0xc0a80000 ||
        (a & 0xffc00000) == 0x64400000 || (a & 0xffff0000) == 0xa9fe0000)
        return IP_PRIVATE;
    if (b[0] == 127)
        return IP_LOOPBACK;
    if (a == 0 || (b[0] & 0xf0) == 224 || a == 0xffffffff)
        return IP_FORBIDDEN;
    return IP_PUBLIC;
}

static enum ip_class classify6(const uint8_t b[16])
{
    static const struct {
        uint8_t n_bits;
        uint8_t prefix[16];
    } NEVER[] = {
        { 128, { 0 } },                                 /* :: */
        { 8, { 0xff } },                                /* multicast */
        { 10, { 0xfe, 0x80 } },                         /* link-local */
        { 96, { [10] = 0xff, [11] = 0xff } },           /* IPv4-mapped */
        { 96, { 0x00, 0x64, 0xff, 0x9b } },             /* NAT64 [RFC 6052] */
        { 48, { 0x00, 0x64, 0xff, 0x9b, 0x00, 0x01 } }, /* NAT64 [RFC 8215] */
        { 16, { 0x20, 0x02 } },                         /* 6to4 */
        { 32, { 0x20, 0x01, 0x00, 0x00 } },             /* Teredo */
    };
    static const uint8_t LOOPBACK[16] = { [15] = 1 };
    if ((b[0] & 0xfe) == 0xfc)
        return IP_PRIVATE;
    if (memcmp(b, LOOPBACK, 16) == 0)
        return IP_LOOPBACK;
    for (size_t i = 0; i < ARRAY_LEN(NEVER); i++) {
        size_t whole = NEVER[i].n_bits / 8u;
        unsigned rest = NEVER[i].n_bits % 8u;
        uint8_t mask = (uint8_t)(0xff00u >> rest);
        if (memcmp(b, NEVER[i].prefix, whole) == 0 &&
            (rest == 0 || (b[whole] & mask) == NEVER[i].prefix[whole]))
            return IP_FORBIDDEN;
    }
    return IP_PUBLIC;
}

enum ip_class ip_classify(const struct ip *ip)
{
    return ip->family == 4 ? classify4(ip->bytes) : classify6(ip->bytes);
}
