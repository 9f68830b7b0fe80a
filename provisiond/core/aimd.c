#include "provisiond/core/aimd.h"

#define START 64
#define CALM_MS 10000

void aimd_init(struct aimd *a, int64_t max)
{
    *a = (struct aimd){ .limit = max < START ? max : START, .max = max };
}

void aimd_succeed(struct aimd *a)
{
    if (a->limit >= a->max)
        return;
    a->credit++;
    if (!a->stumbled || a->credit >= a->limit) {
        a->limit++;
        a->credit = 0;
    }
}

void aimd_fail(struct aimd *a, int64_t now_ms)
{
    if (now_ms < a->calm_ms)
        return;
    a->calm_ms = now_ms + CALM_MS;
    a->stumbled = true;
    a->credit = 0;
    a->limit = a->limit > 1 ? a->limit / 2 : 1;
}
