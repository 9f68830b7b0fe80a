#include "agent/core/renewal.h"

#define SHORT_LIFE_S (10 * 86400)

/* FNV-1a: ids are uniform already, this only folds them. */
static uint32_t fold(struct span id)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < id.len; i++)
        h = (h ^ id.p[i]) * 16777619u;
    return h;
}

int64_t renewal_at(int64_t not_before_s, int64_t not_after_s, struct span id)
{
    int64_t life_s = not_after_s - not_before_s;
    int64_t due_s = life_s < SHORT_LIFE_S ? life_s / 2 : life_s / 3 * 2;
    return not_before_s + due_s - life_s / 50 * (int64_t)(fold(id) % 1024) / 1024;
}
