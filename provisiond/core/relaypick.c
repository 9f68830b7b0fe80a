#include "provisiond/core/relaypick.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/base/siphash.h"

/* Every node must come to the same choice: the key is a constant, not a secret. */
static uint64_t score(const char *name, const struct devid *id)
{
    static const uint8_t KEY[SIPHASH_KEY_LEN] = "relay rendezvous";
    char text[DEVID_LEN + 1 + 256];
    int n = snprintf(text, sizeof text, "%s %s", id->text, name);
    return siphash(KEY, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

static bool has_failed(const struct relaypick_failed *failed, const char *name)
{
    for (size_t i = 0; failed != NULL && i < failed->n; i++) {
        if (strcmp(failed->names[i], name) == 0)
            return true;
    }
    return false;
}

size_t relaypick(const char *const *names, size_t n, const struct devid *id,
                 const struct relaypick_failed *failed)
{
    size_t best = n;
    uint64_t high = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t s = score(names[i], id);
        if (has_failed(failed, names[i]))
            continue;
        if (best == n || s > high || (s == high && strcmp(names[i], names[best]) < 0)) {
            high = s;
            best = i;
        }
    }
    return best < n ? best : relaypick(names, n, id, NULL);
}
