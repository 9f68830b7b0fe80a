#include "provisiond/core/gcra.h"

#include <stdlib.h>

#include "common/base/secret.h"

struct gcra_table {
    struct gcra_rate rate;
    size_t mask;
    uint64_t seed; /* random: nobody can aim at another client's slot */
    int64_t tat[];
};

int64_t gcra_take(int64_t *tat, const struct gcra_rate *rate, int64_t now_ms)
{
    int64_t from = *tat > now_ms ? *tat : now_ms;
    int64_t wait = from - now_ms - rate->interval_ms * (rate->burst - 1);
    if (wait > 0)
        return wait;
    *tat = from + rate->interval_ms;
    return 0;
}

enum err gcra_table_new(struct gcra_table **out, size_t slots, struct gcra_rate rate)
{
    if (slots == 0 || (slots & (slots - 1)) != 0 || rate.burst < 1 || rate.interval_ms < 1)
        return ERR_RANGE;
    struct gcra_table *t = calloc(1, sizeof *t + slots * sizeof t->tat[0]);
    if (t == NULL)
        return ERR_NOMEM;
    t->rate = rate;
    t->mask = slots - 1;
    secret_random(&t->seed, sizeof t->seed);
    *out = t;
    return ERR_OK;
}

void gcra_table_free(struct gcra_table *t)
{
    free(t);
}

void gcra_table_set_rate(struct gcra_table *t, struct gcra_rate rate)
{
    t->rate = rate;
}

int64_t gcra_table_take(struct gcra_table *t, struct span key, int64_t now_ms)
{
    uint64_t h = t->seed; /* FNV-1a over a secret start, finished with a strong mix */
    for (size_t i = 0; i < key.len; i++)
        h = (h ^ key.p[i]) * 0x100000001b3u;
    h ^= h >> 32;
    h *= 0x9e3779b97f4a7c15u;
    h ^= h >> 29;
    return gcra_take(&t->tat[h & t->mask], &t->rate, now_ms);
}
