#include "provisiond/core/cohort.h"

#define QUIET_S (6 * 3600)

bool cohort_alarm(struct cohort_alarms *c, int64_t not_before, int64_t now_s)
{
    int64_t hour = not_before / COHORT_S;
    uint64_t i = (uint64_t)hour % COHORT_SLOTS;
    bool known = c->slot[i].hour == hour && c->slot[i].alarmed_at != 0;
    if (known && now_s < c->slot[i].alarmed_at + QUIET_S && now_s >= c->slot[i].alarmed_at)
        return false;
    c->slot[i].hour = hour;
    c->slot[i].alarmed_at = now_s;
    return true;
}
