#include "agent/core/clockview.h"

#include <stdio.h>

#include "agent/core/issued.h"
#include "common/base/clock.h"

#define NEAR_S 60
#define FAR_S 3600
#define DAY_S 86400
#define SLACK_S DAY_S        /* of the clock of the machine that made this program */
#define YEAR_S (366 * DAY_S) /* longer than most devices are off */
#define CURE "set it, or start NTP"

/* "says 1970-01-01T00:00:12Z, <what> <a date>: <cure>" */
static enum clockview say(char *text, const struct clockview_facts *f, enum clockview v,
                          const char *what, int64_t at_s, const char *cure)
{
    char now[CLOCK_TEXT_MAX], at[CLOCK_TEXT_MAX];
    clock_format(f->now_s, now, sizeof now);
    clock_format(at_s, at, sizeof at);
    (void)snprintf(text, CLOCKVIEW_TEXT_MAX, "says %s, %s %s: %s", now, what, at, cure);
    return v;
}

static enum clockview compare(char *text, const struct clockview_facts *f)
{
    int64_t off_s = f->now_s - f->service_s, far_s = off_s < 0 ? -off_s : off_s;
    char now[CLOCK_TEXT_MAX];
    if (far_s <= NEAR_S) {
        (void)snprintf(text, CLOCKVIEW_TEXT_MAX, "agrees with the service's");
        return CLOCKVIEW_RIGHT;
    }
    clock_format(f->now_s, now, sizeof now);
    (void)snprintf(text, CLOCKVIEW_TEXT_MAX, "says %s, %lld %s %s the service's: " CURE, now,
                   (long long)(far_s >= 2 * DAY_S ? far_s / DAY_S : far_s),
                   far_s >= 2 * DAY_S ? "days" : "s", off_s < 0 ? "behind" : "ahead of");
    return far_s <= FAR_S ? CLOCKVIEW_DOUBTFUL : CLOCKVIEW_WRONG;
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Without any word of the service. */
static enum clockview judge_alone(char *text, const struct clockview_facts *f)
{
    int64_t floor_s = later(ISSUED_CLOCK_FLOOR_S, f->built_s - SLACK_S);
    int64_t known_s = later(later(f->built_s, f->cert_from_s), f->noted_s);
    if (f->now_s < floor_s)
        return say(text, f, CLOCKVIEW_WRONG, "but this program was made after", floor_s, CURE);
    if (f->now_s < f->cert_from_s)
        return say(text, f, CLOCKVIEW_WRONG, "but this device's certificate begins at",
                   f->cert_from_s, CURE);
    if (f->now_s < f->noted_s - FAR_S)
        return say(text, f, CLOCKVIEW_DOUBTFUL, "but the agent has written its state at",
                   f->noted_s, "it was wrong then, or is now");
    if (f->now_s > known_s + YEAR_S)
        return say(text, f, CLOCKVIEW_DOUBTFUL, "and the last time known here is", known_s,
                   "if the device was not off for so long, " CURE);
    if (f->cert_to_s != 0 && f->now_s >= f->cert_to_s)
        return say(text, f, CLOCKVIEW_DOUBTFUL, "and this device's certificate ended at",
                   f->cert_to_s, "if it is not so late, " CURE);
    return say(text, f, CLOCKVIEW_RIGHT, "which fits the last time that is known here,", known_s,
               "the service could not be asked");
}

enum clockview clockview_judge(const struct clockview_facts *f, char text[CLOCKVIEW_TEXT_MAX])
{
    if (f->service_s != 0)
        return compare(text, f);
    if (f->service_to_s != 0 && f->now_s < f->service_from_s)
        return say(text, f, CLOCKVIEW_WRONG, "but the service's certificate begins at",
                   f->service_from_s, CURE);
    if (f->service_to_s != 0 && f->now_s >= f->service_to_s)
        return say(text, f, CLOCKVIEW_WRONG, "but the service's certificate ended at",
                   f->service_to_s,
                   "if the clock is ahead, " CURE "; if not, the service's operator must act");
    return judge_alone(text, f);
}
