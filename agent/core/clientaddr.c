#include "agent/core/clientaddr.h"

#include <string.h>

#include "common/net/addr.h"

static bool is_good4(const uint8_t b[4])
{
    return b[0] != 0 && b[0] != 127 && !(b[0] == 169 && b[1] == 254) && b[0] < 224;
}

/* ::/80 has the unspecified address, the loopback address, and IPv4 in both of its forms. */
static bool is_good6(const uint8_t b[16])
{
    static const uint8_t ZERO[10] = { 0 };
    bool link_local = b[0] == 0xfe && (b[1] & 0xc0) == 0x80;
    return memcmp(b, ZERO, sizeof ZERO) != 0 && !link_local && b[0] != 0xff;
}

bool clientaddr_read(struct ip *out, const struct sockaddr *sa)
{
    struct span s = addr_ip(sa);
    if (s.len == 0)
        return false;
    *out = (struct ip){ .family = s.len == 4 ? 4 : 6 };
    memcpy(out->bytes, s.p, s.len);
    return out->family == 4 ? is_good4(out->bytes) : is_good6(out->bytes);
}
