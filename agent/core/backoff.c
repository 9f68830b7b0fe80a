#include "agent/core/backoff.h"

#include "common/base/attr.h"

#define LEAST_S 5

static const int64_t UNITS[] = { 1, 5, 15, 60, 240 };

int64_t backoff_delay_s(unsigned attempts, int64_t unit_s, int64_t life_s, uint32_t random)
{
    if (attempts == 0)
        return 0;
    unsigned last = ARRAY_LEN(UNITS) - 1;
    int64_t delay_s = unit_s * UNITS[attempts - 1 < last ? attempts - 1 : last];
    if (life_s > 0) {
        int64_t cap_s = life_s / 16 > LEAST_S ? life_s / 16 : LEAST_S;
        if (delay_s > cap_s)
            delay_s = cap_s;
    }
    return delay_s + (int64_t)(random % 1024) * delay_s / 4096;
}

int64_t backoff_remaining_s(int64_t due_at, int64_t now_s, int64_t max_s)
{
    if (due_at <= now_s)
        return 0;
    return due_at - now_s > max_s ? max_s : due_at - now_s;
}
