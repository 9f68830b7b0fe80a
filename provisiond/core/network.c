#include "provisiond/core/network.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

bool network_ip(struct ip *out, struct span bytes)
{
    static const uint8_t MAPPED[12] = { [10] = 0xff, 0xff };
    *out = (struct ip){ .family = 4 };
    if (bytes.len == 16 && memcmp(bytes.p, MAPPED, sizeof MAPPED) == 0)
        bytes = (struct span){ bytes.p + sizeof MAPPED, 4 };
    if (bytes.len == 16)
        out->family = 6;
    else if (bytes.len != 4)
        return false;
    memcpy(out->bytes, bytes.p, bytes.len);
    return true;
}

bool network_parse(struct ip *out, const char *text)
{
    uint8_t bytes[16];
    if (inet_pton(AF_INET, text, bytes) == 1)
        return network_ip(out, (struct span){ bytes, 4 });
    return inet_pton(AF_INET6, text, bytes) == 1 && network_ip(out, (struct span){ bytes, 16 });
}

bool network_equal(const struct ip *a, const struct ip *b)
{
    return a->family == b->family && memcmp(a->bytes, b->bytes, a->family == 4 ? 4 : 16) == 0;
}

void network_address_text(const struct ip *ip, char out[NETWORK_TEXT_MAX])
{
    out[0] = 0;
    (void)inet_ntop(ip->family == 4 ? AF_INET : AF_INET6, ip->bytes, out, NETWORK_TEXT_MAX);
}

void network_text(const struct ip *ip, char out[NETWORK_TEXT_MAX])
{
    struct ip net = *ip;
    if (net.family == 6)
        memset(net.bytes + 8, 0, 8);
    network_address_text(&net, out);
    if (net.family == 6)
        memcpy(out + strlen(out), "/64", sizeof "/64");
}
