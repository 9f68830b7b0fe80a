#include "agent/timekeeper.h"

#include <stdbool.h>
#include <stddef.h>

#include "common/base/clock.h"
#include "common/base/log.h"

#define SLACK_S 86400 /* of the clock of the machine that made this program */

static struct truetime_clocks look(void)
{
    return (struct truetime_clocks){ .wall_s = clock_now_s(), .boot_ms = clock_boot_ms() };
}

void timekeeper_init(struct truetime *t)
{
    *t = (struct truetime){ .built_s = LANYARD_BUILT_S - SLACK_S };
}

void timekeeper_hear(struct truetime *t, int64_t date_s)
{
    const struct truetime_clocks at = look();
    bool agreed = truetime_now(t, at) == at.wall_s;
    if (!truetime_hear(t, date_s, at))
        return;
    bool agrees = truetime_now(t, at) == at.wall_s;
    if (agrees == agreed)
        return;
    char wall[CLOCK_TEXT_MAX], date[CLOCK_TEXT_MAX];
    clock_format(at.wall_s, wall, sizeof wall);
    clock_format(date_s, date, sizeof date);
    if (agrees)
        log_info("the clock is right again: it says %s", wall);
    else
        log_warn("the clock says %s, the service's %s: going by the service's", wall, date);
}

void timekeeper_look(struct truetime *t)
{
    if (t != NULL)
        truetime_look(t, look());
}

int64_t timekeeper_now_s(const struct truetime *t)
{
    return t != NULL ? truetime_now(t, look()) : clock_now_s();
}
