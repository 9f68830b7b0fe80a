#include "dnsd/core/shield.h"

#include <string.h>

APART bool shield_greet(struct edns_options *out, const struct shield *g, const struct edns *e,
                        struct span ip, int64_t now_s)
{
    bool valid = false;
    if (e->cookie.p != NULL && g->cookies.n > 0 && ip.len > 0) {
        uint8_t *p = edns_option_add(out, EDNS_COOKIE, COOKIE_LEN);
        valid = cookie_is_valid(&g->cookies, e->cookie, ip, now_s);
        if (p != NULL)
            cookie_make(p, &g->cookies, e->cookie, ip, now_s, valid);
    }
    size_t len = e->wants_nsid ? strlen(g->identity.nsid) : 0;
    uint8_t *p = len > 0 ? edns_option_add(out, EDNS_NSID, len) : NULL;
    if (p != NULL)
        memcpy(p, g->identity.nsid, len);
    return valid;
}
