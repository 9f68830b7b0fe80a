#include "provisiond/core/backoff.h"

#include "common/base/attr.h"

/* `base` moved by -25 % to +25 %, the same for the same seed and failure count. */
static int64_t jitter(int64_t base, unsigned failures, uint32_t seed)
{
    uint32_t h = (seed ^ failures * 0x9e3779b9u) * 0x85ebca6bu;
    h ^= h >> 15;
    int64_t s = base - base / 4 + (int64_t)(h % 1024) * (base / 2) / 1023;
    return s < 1 ? 1 : s;
}

int64_t backoff_step_s(unsigned failures, uint32_t seed)
{
    unsigned doublings = failures > 0 ? failures - 1 : 0;
    int64_t base = doublings >= 9 ? 300 : (int64_t)1 << doublings;
    return jitter(base > 300 ? 300 : base, failures, seed);
}

int64_t backoff_order_s(unsigned failures, uint32_t seed)
{
    static const int64_t LADDER_S[] = { 10, 60, 600, 6000, 86400 };
    unsigned rung = failures > 0 ? failures - 1 : 0;
    if (rung >= ARRAY_LEN(LADDER_S))
        rung = ARRAY_LEN(LADDER_S) - 1;
    return jitter(LADDER_S[rung], failures, seed);
}

int64_t backoff_poll_s(unsigned polls)
{
    static const int64_t STEPS_S[] = { 1, 1, 2, 3, 5, 8, 13, 21 };
    unsigned i = polls > 0 ? polls - 1 : 0;
    return i < ARRAY_LEN(STEPS_S) ? STEPS_S[i] : 30;
}
