#include "agent/core/alpn.h"

#include <string.h>

const struct alpn ALPN_HTTP1 = { 9, "\x08http/1.1" };

enum err alpn_add(struct alpn *a, const char *name)
{
    size_t len = strlen(name);
    if (len == 0)
        return ERR_INVALID;
    if (len >= sizeof a->list - a->len)
        return ERR_LIMIT;
    a->list[a->len] = (uint8_t)len;
    memcpy(a->list + a->len + 1, name, len);
    a->len = (uint8_t)(a->len + 1 + len);
    return ERR_OK;
}
