#include "agent/core/clientaddr.h"

#include <string.h>

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

bool clientaddr_is_good(const struct ip *ip)
{
    return ip->family == 4 ? is_good4(ip->bytes) : is_good6(ip->bytes);
}
