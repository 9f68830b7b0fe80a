#include "common/net/addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool parse_port(const char *text, uint16_t *out)
{
    unsigned v = 0;
    size_t n = strlen(text);
    if (n < 1 || n > 5)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        v = v * 10 + (unsigned)(text[i] - '0');
    }
    if (v > 65535)
        return false;
    *out = (uint16_t)v;
    return true;
}

static enum err bad(const char *text, struct err_info *info)
{
    return err_set(info, ERR_INVALID,
                   "'%s' is not an address and port: write 192.0.2.1:53 or [2001:db8::1]:53", text);
}

enum err addr_parse(struct addr *out, const char *text, struct err_info *info)
{
    char host[INET6_ADDRSTRLEN];
    bool v6 = text[0] == '[';
    const char *from = v6 ? text + 1 : text;
    const char *colon = strrchr(text, ':');
    const char *end = v6 ? strchr(text, ']') : colon;
    uint16_t port;
    if (colon == NULL || end == NULL || (v6 && end + 1 != colon) ||
        (size_t)(end - from) >= sizeof host || !parse_port(colon + 1, &port))
        return bad(text, info);
    memcpy(host, from, (size_t)(end - from));
    host[end - from] = 0;
    struct addr a = { .len = 0 };
    if (v6) {
        struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)&a.ss;
        *sin6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons(port) };
        a.len = sizeof *sin6;
        if (inet_pton(AF_INET6, host, &sin6->sin6_addr) != 1)
            return bad(text, info);
    } else {
        struct sockaddr_in *sin = (struct sockaddr_in *)&a.ss;
        *sin = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port) };
        a.len = sizeof *sin;
        if (inet_pton(AF_INET, host, &sin->sin_addr) != 1)
            return bad(text, info);
    }
    *out = a;
    return ERR_OK;
}

void addr_format(const struct addr *a, char out[ADDR_TEXT_MAX])
{
    char host[INET6_ADDRSTRLEN] = "?";
    if (a->ss.ss_family == AF_INET6) {
        const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)&a->ss;
        (void)inet_ntop(AF_INET6, &sin6->sin6_addr, host, sizeof host);
        (void)snprintf(out, ADDR_TEXT_MAX, "[%s]:%u", host, (unsigned)ntohs(sin6->sin6_port));
    } else if (a->ss.ss_family == AF_INET) {
        const struct sockaddr_in *sin = (const struct sockaddr_in *)&a->ss;
        (void)inet_ntop(AF_INET, &sin->sin_addr, host, sizeof host);
        (void)snprintf(out, ADDR_TEXT_MAX, "%s:%u", host, (unsigned)ntohs(sin->sin_port));
    } else {
        (void)snprintf(out, ADDR_TEXT_MAX, "local socket");
    }
}
