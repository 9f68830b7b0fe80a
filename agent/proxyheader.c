#include "agent/proxyheader.h"

#include <netinet/in.h>
#include <string.h>

#define HEAD_LEN 16
#define COMMAND_LOCAL 0x20
#define COMMAND_PROXY 0x21
#define TCP4 0x11
#define TCP6 0x21

static const uint8_t SIGNATURE[12] = { 0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
                                       0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a };

static size_t head(uint8_t *out, uint8_t command, uint8_t family, uint8_t len)
{
    memcpy(out, SIGNATURE, sizeof SIGNATURE);
    out[12] = command;
    out[13] = family;
    out[14] = 0;
    out[15] = len;
    return HEAD_LEN;
}

size_t proxyheader_write(uint8_t out[PROXYHEADER_MAX], const struct sockaddr *from,
                         const struct sockaddr *to)
{
    if (from->sa_family == AF_INET && to->sa_family == AF_INET) {
        struct sockaddr_in a, b;
        memcpy(&a, from, sizeof a);
        memcpy(&b, to, sizeof b);
        uint8_t *p = out + head(out, COMMAND_PROXY, TCP4, 12);
        memcpy(p, &a.sin_addr, 4);
        memcpy(p + 4, &b.sin_addr, 4);
        memcpy(p + 8, &a.sin_port, 2);
        memcpy(p + 10, &b.sin_port, 2);
        return HEAD_LEN + 12;
    }
    if (from->sa_family == AF_INET6 && to->sa_family == AF_INET6) {
        struct sockaddr_in6 a, b;
        memcpy(&a, from, sizeof a);
        memcpy(&b, to, sizeof b);
        uint8_t *p = out + head(out, COMMAND_PROXY, TCP6, 36);
        memcpy(p, &a.sin6_addr, 16);
        memcpy(p + 16, &b.sin6_addr, 16);
        memcpy(p + 32, &a.sin6_port, 2);
        memcpy(p + 34, &b.sin6_port, 2);
        return HEAD_LEN + 36;
    }
    return head(out, COMMAND_LOCAL, 0, 0);
}
