#include "agent/core/neighbour.h"

#include <stdint.h>
#include <string.h>

#include "common/base/attr.h"

#define LINK_BITS6 64 /* whatever length the kernel was given: DHCPv6 gives single addresses */

struct range {
    struct ip ip;
    unsigned bits;
};

static bool has_prefix(const struct ip *ip, const struct ip *of, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    if (ip->family != of->family || bits > (ip->family == 4 ? 32 : 128) ||
        memcmp(ip->bytes, of->bytes, whole) != 0)
        return false;
    return rest == 0 || (ip->bytes[whole] ^ of->bytes[whole]) >> (8 - rest) == 0;
}

bool neighbour_ip(struct ip *out, struct span bytes)
{
    static const struct ip MAPPED = { 6, { [10] = 0xff, [11] = 0xff } };
    if (bytes.len != 4 && bytes.len != 16)
        return false;
    struct ip ip = { .family = bytes.len == 4 ? 4 : 6 };
    memcpy(ip.bytes, bytes.p, bytes.len);
    *out = ip;
    if (has_prefix(&ip, &MAPPED, 96)) {
        *out = (struct ip){ .family = 4 };
        memcpy(out->bytes, ip.bytes + 12, 4);
    }
    return true;
}

bool neighbour_by_range(const struct ip *peer)
{
    static const struct range NEAR[] = {
        { { 4, { 127 } }, 8 },         /* RFC 1122 s3.2.1.3 */
        { { 4, { 10 } }, 8 },          /* RFC 1918 s3 */
        { { 4, { 172, 16 } }, 12 },    /* likewise */
        { { 4, { 192, 168 } }, 16 },   /* likewise */
        { { 4, { 169, 254 } }, 16 },   /* RFC 3927 s2.1 */
        { { 6, { [15] = 1 } }, 128 },  /* RFC 4291 s2.5.3 */
        { { 6, { 0xfe, 0x80 } }, 10 }, /* RFC 4291 s2.5.6 */
        { { 6, { 0xfc } }, 7 },        /* RFC 4193 s3.1 */
    };
    for (size_t i = 0; i < ARRAY_LEN(NEAR); i++) {
        if (has_prefix(peer, &NEAR[i].ip, NEAR[i].bits))
            return true;
    }
    return false;
}

bool neighbour_by_link(const struct ip *peer, const struct worth_address *own, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned bits = own[i].ip.family == 4 ? own[i].prefix_bits : LINK_BITS6;
        if (own[i].up && has_prefix(peer, &own[i].ip, bits))
            return true;
    }
    return false;
}
