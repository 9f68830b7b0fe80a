/* relayfail.h - the relays that this device cannot reach, as the service is told: those that failed
 * for minutes while the service answered, since a network that is down makes no relay a bad one.
 * Whoever is on the list stays there until it takes connections again, which is looked at after an
 * hour or two: the devices of a relay that is back do not come at once. One that takes connections
 * and fails all the same is looked at half as often each time. Or for a day: it may be elsewhere by
 * then, as only the service knows. Pure; any thread. */
#ifndef LANYARD_AGENT_CORE_RELAYFAIL_H
#define LANYARD_AGENT_CORE_RELAYFAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/core/relaygrant.h"

#define RELAYFAIL_MAX 4           /* relays on the list */
#define RELAYFAIL_AFTER_UNITS 5   /* of failing, since the service was heard meanwhile */
#define RELAYFAIL_LOOK_UNITS 60   /* until one is looked at again, and as much more by chance */
#define RELAYFAIL_HOLD_UNITS 1440 /* on the list, until the first look after that */
#define RELAYFAIL_PAST_UNITS 1440 /* since a look was wrong about one, that this is remembered */

struct relayfail_entry {
    char name[RELAYGRANT_NAME_MAX], control[RELAYGRANT_END_MAX];
    int64_t since_ms, look_ms; /* on the list; when it is looked at; monotonic */
    int64_t look_units;        /* from one look to the next, and as much more by chance */
    bool told;                 /* the service knows */
};

/* What a look took off the list. */
struct relayfail_past {
    char name[RELAYGRANT_NAME_MAX]; /* "": nothing */
    int64_t off_ms;                 /* when; monotonic */
    int64_t look_units;
};

/* Zero but for unit_ms to begin with. */
struct relayfail {
    int64_t unit_ms; /* normally a minute */
    struct relayfail_entry used;
    bool failing;     /* the one that is used */
    bool heard;       /* the service, while it was failing, ... */
    int64_t heard_ms; /* ... and when; monotonic */
    size_t n;
    struct relayfail_entry list[RELAYFAIL_MAX];
    struct relayfail_past past[RELAYFAIL_MAX];
};

/* The relay that the service names; NULL: none. */
void relayfail_use(struct relayfail *f, const struct relaygrant *grant);

/* An attempt to connect to it ended. True when the list has changed. */
bool relayfail_tried(struct relayfail *f, bool connected, int64_t now_ms, uint32_t random);

/* The service has answered a report, or cannot be reached: what it was not told is then taken back,
 * since it may be this network that failed. */
void relayfail_report(struct relayfail *f, bool answered, int64_t now_ms);

/* The one to be looked at next; NULL: none. Borrowed until the next call. */
const struct relayfail_entry *relayfail_next(const struct relayfail *f);

/* Whether that one takes connections now: if so, or after a day, it is taken off. True when the
 * list has changed. */
bool relayfail_looked(struct relayfail *f, bool works, int64_t now_ms, uint32_t random);

#endif
