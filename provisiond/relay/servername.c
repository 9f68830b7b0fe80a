#include "provisiond/relay/servername.h"

#include <string.h>

/* The length of what is in front of ".<zone>", 0 when it is not below that zone. */
static size_t length_below(const char *name, const char *zone)
{
    size_t n = strlen(name), k = strlen(zone);
    bool below = n > k + 1 && name[n - k - 1] == '.' && strcmp(name + n - k, zone) == 0;
    return below ? n - k - 1 : 0;
}

static enum err read_id(struct devid *id, const char *name, size_t len)
{
    const char *label = memchr(name, '.', len);
    struct span s = { (const uint8_t *)name, len };
    if (label != NULL) {
        s.p = (const uint8_t *)label + 1;
        s.len = len - (size_t)(label + 1 - name);
    }
    if (!devid_is_valid(s))
        return ERR_INVALID;
    memcpy(id->text, s.p, DEVID_LEN);
    id->text[DEVID_LEN] = 0;
    return ERR_OK;
}

enum err servername_read(struct devid *id, size_t *zone, const char *name, char *const *zones,
                         size_t n)
{
    enum err e = ERR_NOTFOUND;
    for (size_t i = 0; i < n; i++) { /* a zone may be below another */
        size_t len = length_below(name, zones[i]);
        if (len == 0)
            continue;
        e = read_id(id, name, len);
        if (e == ERR_OK) {
            *zone = i;
            return e;
        }
    }
    return e;
}
