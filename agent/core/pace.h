/* pace.h - how often the service is told where this device is, whatever happens here: a program
 * that is started again and again, or a network that comes and goes, must not become its flood.
 * Pure; any thread. */
#ifndef LANYARD_AGENT_CORE_PACE_H
#define LANYARD_AGENT_CORE_PACE_H

#include <stdint.h>

#define PACE_BUSY_MAX_S 3600
/* What a service that is busy asked for holds for so long also when something changed: one wrong
 * word must not hide a device that has moved for a day. [RFC 9110 s10.2.3] */

/* Reports at a start, remembered over the end of the program. */
struct pace {
    unsigned starts;    /* in a row, without an hour of `unit_s` 60 in between */
    int64_t started_at; /* Unix seconds of the last; 0: never */
};

/* Seconds to wait before the report at a start at `now_s`: none for the first three, then 1, 5 and
 * at most 15 units since the last one; a clock that was lost cannot tell, and means one unit. */
int64_t pace_wait_s(const struct pace *p, int64_t now_s, int64_t unit_s);

/* Milliseconds from the begin of one report to that of the next: 3 s with the usual `unit_s` of a
 * minute and above, less with a shorter one. */
int64_t pace_least_ms(int64_t unit_s);

/* Notes such a report. */
void pace_note(struct pace *p, int64_t now_s, int64_t unit_s);

#endif
