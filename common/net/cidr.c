#include "common/net/cidr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "common/net/addr.h"

/* Whether the first `bits` bits are the same. */
static bool same_prefix(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    if (memcmp(a, b, whole) != 0)
        return false;
    return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

static bool parse_bits(const char *text, unsigned max, unsigned *out)
{
    unsigned v = 0;
    size_t n = strlen(text);
    if (n < 1 || n > 3 || strspn(text, "0123456789") != n)
        return false;
    for (size_t i = 0; i < n; i++)
        v = v * 10 + (unsigned)(text[i] - '0');
    *out = v;
    return v <= max;
}

/* Bits beyond the prefix. */
static bool has_host(const struct cidr *c)
{
    uint8_t net[16] = { 0 };
    for (unsigned i = 0; i < c->bits; i++)
        net[i / 8] = (uint8_t)(net[i / 8] | (c->bytes[i / 8] & (0x80u >> i % 8)));
    return memcmp(net, c->bytes, sizeof net) != 0;
}

enum err cidr_parse(struct cidr *out, const char *text, struct err_info *info)
{
    struct cidr c = { .family = strchr(text, ':') != NULL ? AF_INET6 : AF_INET };
    unsigned max = c.family == AF_INET6 ? 128 : 32;
    char host[INET6_ADDRSTRLEN];
    size_t len = strcspn(text, "/");
    c.bits = max;
    bool ok = len < sizeof host;
    if (ok) {
        (void)snprintf(host, sizeof host, "%.*s", (int)len, text);
        ok = inet_pton(c.family, host, c.bytes) == 1 &&
             (text[len] == 0 || parse_bits(text + len + 1, max, &c.bits));
    }
    if (!ok)
        return err_set(info, ERR_INVALID,
                       "'%.60s' is not a range of addresses: write 192.0.2.0/24 or 2001:db8::/32",
                       text);
    if (has_host(&c))
        return err_set(info, ERR_INVALID, "'%.60s' has bits beyond its prefix of %u", text, c.bits);
    *out = c;
    return ERR_OK;
}

bool cidr_contains(const struct cidr *c, const struct sockaddr *sa)
{
    static const uint8_t MAPPED[12] = { [10] = 0xff, 0xff };
    struct span ip = addr_ip(sa);
    if (ip.len == 16 && memcmp(ip.p, MAPPED, sizeof MAPPED) == 0)
        ip = (struct span){ ip.p + sizeof MAPPED, 4 };
    return ip.len == (c->family == AF_INET ? 4 : 16) && same_prefix(c->bytes, ip.p, c->bits);
}
