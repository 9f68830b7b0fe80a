#include "common/net/proxyproto.h"

#include <netinet/in.h>
#include <string.h>

#define LOCAL 0x20
#define PROXY 0x21
#define TCP4 0x11
#define TCP6 0x21
#define TCP4_LEN 12
#define TCP6_LEN 36

static const uint8_t SIGNATURE[12] = { 0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
                                       0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a };

enum err proxyproto_length(size_t *out, struct span head)
{
    if (head.len < PROXYPROTO_HEAD || memcmp(head.p, SIGNATURE, sizeof SIGNATURE) != 0)
        return ERR_INVALID;
    size_t len = PROXYPROTO_HEAD + ((size_t)head.p[14] << 8 | head.p[15]);
    if (len > PROXYPROTO_MAX)
        return ERR_INVALID;
    *out = len;
    return ERR_OK;
}

static struct addr ip4(const uint8_t ip[4], const uint8_t port[2])
{
    struct addr a = { .len = sizeof(struct sockaddr_in) };
    struct sockaddr_in sin = { .sin_family = AF_INET };
    memcpy(&sin.sin_addr, ip, 4);
    memcpy(&sin.sin_port, port, 2);
    memcpy(&a.ss, &sin, sizeof sin);
    return a;
}

static struct addr ip6(const uint8_t ip[16], const uint8_t port[2])
{
    static const uint8_t MAPPED[12] = { [10] = 0xff, 0xff };
    struct addr a = { .len = sizeof(struct sockaddr_in6) };
    struct sockaddr_in6 sin6 = { .sin6_family = AF_INET6 };
    if (memcmp(ip, MAPPED, sizeof MAPPED) == 0)
        return ip4(ip + sizeof MAPPED, port);
    memcpy(&sin6.sin6_addr, ip, 16);
    memcpy(&sin6.sin6_port, port, 2);
    memcpy(&a.ss, &sin6, sizeof sin6);
    return a;
}

enum err proxyproto_parse(struct proxyproto *out, struct span header)
{
    size_t len;
    if (proxyproto_length(&len, header) != ERR_OK || len != header.len)
        return ERR_INVALID;
    uint8_t command = header.p[12], family = header.p[13];
    const uint8_t *p = header.p + PROXYPROTO_HEAD;
    size_t body = len - PROXYPROTO_HEAD;
    struct proxyproto pp = { .has_peer = command == PROXY };
    if (command == PROXY && family == TCP4 && body >= TCP4_LEN)
        pp.peer = ip4(p, p + 8);
    else if (command == PROXY && family == TCP6 && body >= TCP6_LEN)
        pp.peer = ip6(p, p + 32);
    else if (command != LOCAL) /* of whom it is must be known: limits and names hang on it */
        return ERR_INVALID;
    *out = pp;
    return ERR_OK;
}
