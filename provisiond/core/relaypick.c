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

size_t relaypick(const char *const *names, size_t n, const struct devid *id)
{
    size_t best = 0;
    uint64_t high = score(names[0], id);
    for (size_t i = 1; i < n; i++) {
        uint64_t s = score(names[i], id);
        if (s > high || (s == high && strcmp(names[i], names[best]) < 0)) {
            high = s;
            best = i;
        }
    }
    return best;
}
