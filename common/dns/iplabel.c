#include "common/dns/iplabel.h"

#include <endian.h>
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

#define TEXT4_MIN 7 /* characters: 1-2-3-4 */
#define TEXT4_MAX 15

/* The text of an address with '-' behind it: so its end, which the caller checks, is no case apart.
 */
static inline void pad4(uint8_t text[TEXT4_MAX + 1], struct span label)
{
    memset(text, '-', TEXT4_MAX + 1);
    if (label.len == TEXT4_MIN) {
        memcpy(text, label.p, TEXT4_MIN);
        return;
    }
    memcpy(text, label.p, 8); /* two words, which may overlap */
    memcpy(text + label.len - 8, label.p + label.len - 8, 8);
}

/* Reads a decimal octet and the '-' behind it; moves *p behind both. */
static inline bool take_octet(uint8_t *out, const uint8_t **p)
{
    const uint8_t *c = *p;
    unsigned v = (unsigned)*c - '0', next = (unsigned)c[1] - '0';
    if (v > 9)
        return false;
    if (next <= 9) {
        if (v == 0) /* no leading zeros */
            return false;
        v = v * 10 + next;
        c++;
        next = (unsigned)c[1] - '0';
        if (next <= 9) {
            v = v * 10 + next;
            c++;
            next = (unsigned)c[1] - '0';
        }
    }
    *out = (uint8_t)v;
    *p = c + 2;
    return v <= 255 && next == (unsigned)'-' - '0';
}

static bool decode4(uint8_t out[4], struct span label)
{
    uint8_t text[TEXT4_MAX + 1];
    if (label.len < TEXT4_MIN || label.len > TEXT4_MAX)
        return false;
    pad4(text, label);
    const uint8_t *p = text;
    return take_octet(&out[0], &p) && take_octet(&out[1], &p) && take_octet(&out[2], &p) &&
           take_octet(&out[3], &p) && p == text + label.len + 1;
}

static APART bool decode6(uint8_t out[16], struct span label)
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
    switch (b[0]) {
    case 10:
        return IP_PRIVATE;
    case 192:
        return b[1] == 168 ? IP_PRIVATE : IP_PUBLIC;
    case 172:
        return (b[1] & 0xf0) == 16 ? IP_PRIVATE : IP_PUBLIC;
    case 100:
        return (b[1] & 0xc0) == 64 ? IP_PRIVATE : IP_PUBLIC;
    case 169:
        if (a == 0xa9fea9fe) /* 169.254.169.254: the metadata service of clouds */
            return IP_FORBIDDEN;
        return b[1] == 254 ? IP_PRIVATE : IP_PUBLIC;
    case 127:
        return IP_LOOPBACK;
    case 0:
        return a == 0 ? IP_FORBIDDEN : IP_PUBLIC;
    case 255:
        return a == 0xffffffff ? IP_FORBIDDEN : IP_PUBLIC;
    default:
        return (b[0] & 0xf0) == 224 ? IP_FORBIDDEN : IP_PUBLIC;
    }
}

static APART enum ip_class classify6(const uint8_t b[16])
{
    /* the halves of prefixes, and of their masks */
    static const struct {
        uint64_t high, high_mask, low, low_mask;
    } NEVER[] = {
        { 0, UINT64_MAX, 0, UINT64_MAX },                                 /* :: */
        { UINT64_C(0xff) << 56, UINT64_C(0xff) << 56, 0, 0 },             /* multicast */
        { UINT64_C(0xfe80) << 48, UINT64_C(0xffc0) << 48, 0, 0 },         /* link-local */
        { 0, UINT64_MAX, UINT64_C(0xffff) << 32, UINT64_MAX << 32 },      /* IPv4-mapped */
        { UINT64_C(0x64ff9b) << 32, UINT64_MAX, 0, UINT64_MAX << 32 },    /* NAT64 [RFC 6052] */
        { UINT64_C(0x64ff9b0001) << 16, UINT64_MAX << 16, 0, 0 },         /* NAT64 [RFC 8215] */
        { UINT64_C(0x2002) << 48, UINT64_C(0xffff) << 48, 0, 0 },         /* 6to4 */
        { UINT64_C(0x20010000) << 32, UINT64_C(0xffffffff) << 32, 0, 0 }, /* Teredo */
    };
    uint64_t high, low;
    memcpy(&high, b, 8);
    memcpy(&low, b + 8, 8);
    high = be64toh(high);
    low = be64toh(low);
    if (high >> 57 == 0xfc >> 1)
        return IP_PRIVATE;
    if (high == 0 && low == 1)
        return IP_LOOPBACK;
    for (size_t i = 0; i < ARRAY_LEN(NEVER); i++) {
        if ((high & NEVER[i].high_mask) == NEVER[i].high &&
            (low & NEVER[i].low_mask) == NEVER[i].low)
            return IP_FORBIDDEN;
    }
    return IP_PUBLIC;
}

enum ip_class ip_classify(const struct ip *ip)
{
    return ip->family == 4 ? classify4(ip->bytes) : classify6(ip->bytes);
}
