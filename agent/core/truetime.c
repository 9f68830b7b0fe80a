#include "agent/core/truetime.h"

#define NEAR_S 300         /* a few minutes off decide nothing */
#define BACK_S 240         /* once more did: no clock is to be taken for right and wrong in turns */
#define DRIFT_DIVISOR 5000 /* of a cheap quartz in the cold: 200 ppm */

bool truetime_hear(struct truetime *t, int64_t date_s, struct truetime_clocks at)
{
    if (date_s <= 0 || date_s < t->built_s)
        return false;
    t->date_s = date_s;
    t->heard_ms = at.boot_ms;
    truetime_look(t, at);
    return true;
}

void truetime_look(struct truetime *t, struct truetime_clocks at)
{
    t->is_off = truetime_now(t, at) != at.wall_s;
}

int64_t truetime_now(const struct truetime *t, struct truetime_clocks at)
{
    int64_t since_s = (at.boot_ms - t->heard_ms) / 1000;
    int64_t told_s = t->date_s + since_s, off_s = at.wall_s - told_s;
    int64_t near_s = (t->is_off ? BACK_S : NEAR_S) + since_s / DRIFT_DIVISOR;
    if (t->date_s == 0)
        return at.wall_s;
    if (off_s < -near_s || (off_s > near_s && since_s < TRUETIME_TRUST_S))
        return told_s;
    return at.wall_s;
}
