#include "agent/core/hosthdr.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#define HOST_MAX 255

static bool ends_with(const char *text, const char *suffix)
{
    size_t n = strlen(text), k = strlen(suffix);
    return n >= k && strcasecmp(text + n - k, suffix) == 0;
}

/* Copies the host without its port and without brackets; false when it has not that form. */
static bool take_host(const char *host, char out[HOST_MAX + 1])
{
    const char *end;
    if (host[0] == '[') {
        end = strchr(++host, ']');
        if (end == NULL || (end[1] != 0 && end[1] != ':'))
            return false;
    } else {
        end = host + strcspn(host, ":");
    }
    size_t len = (size_t)(end - host);
    if (len == 0 || len > HOST_MAX)
        return false;
    memcpy(out, host, len);
    out[len] = 0;
    return true;
}

bool hosthdr_is_ours(const char *host, const char *suffix)
{
    char name[HOST_MAX + 1];
    uint8_t ip[16];
    if (host == NULL || !take_host(host, name))
        return false;
    if (inet_pton(AF_INET, name, ip) == 1 || inet_pton(AF_INET6, name, ip) == 1)
        return true;
    return strchr(name, '.') == NULL || ends_with(name, ".local") || ends_with(name, suffix) ||
           strcasecmp(name, suffix + 1) == 0;
}
