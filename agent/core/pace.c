#include "agent/core/pace.h"

#include <stdbool.h>

#include "agent/core/issued.h"
#include "common/base/attr.h"

#define FREE_STARTS 3
#define CALM_UNITS 60 /* without a start: what was before does not count */
#define STARTS_MAX 1000
#define LEAST_MAX_MS 3000
#define LEAST_OF_UNIT_MS 50 /* for each second of the unit */

static const int64_t UNITS[] = { 1, 5, 15 };

/* Whether the last start was in a life of its own, long ago. */
static bool is_calm(const struct pace *p, int64_t now_s, int64_t unit_s)
{
    return now_s - p->started_at >= CALM_UNITS * unit_s;
}

int64_t pace_wait_s(const struct pace *p, int64_t now_s, int64_t unit_s)
{
    if (p->starts < FREE_STARTS || is_calm(p, now_s, unit_s))
        return 0;
    if (now_s < ISSUED_CLOCK_FLOOR_S || now_s < p->started_at)
        return unit_s;
    unsigned last = ARRAY_LEN(UNITS) - 1, n = p->starts - FREE_STARTS;
    int64_t left_s = p->started_at + unit_s * UNITS[n < last ? n : last] - now_s;
    return left_s > 0 ? left_s : 0;
}

int64_t pace_least_ms(int64_t unit_s)
{
    return unit_s < LEAST_MAX_MS / LEAST_OF_UNIT_MS ? unit_s * LEAST_OF_UNIT_MS : LEAST_MAX_MS;
}

void pace_note(struct pace *p, int64_t now_s, int64_t unit_s)
{
    if (is_calm(p, now_s, unit_s))
        p->starts = 0;
    if (p->starts < STARTS_MAX)
        p->starts++;
    p->started_at = now_s;
}
