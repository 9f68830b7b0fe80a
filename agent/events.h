/* events.h - the last things that happened, for the device's page: in memory, never on disk. One
 * thread. */
#ifndef LANYARD_AGENT_EVENTS_H
#define LANYARD_AGENT_EVENTS_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"

#define EVENTS_MAX 20
#define EVENT_TEXT_MAX 160

struct event_note {
    int64_t at; /* Unix seconds */
    char text[EVENT_TEXT_MAX];
};

/* Zero it. */
struct events {
    size_t n; /* ever added */
    struct event_note ring[EVENTS_MAX];
};

void events_add(struct events *ev, int64_t now_s, const char *format, ...) PRINTF_LIKE(3, 4);

/* The one at `index`, 0 being the newest; NULL past the last that is kept. */
const struct event_note *events_get(const struct events *ev, size_t index);

#endif
