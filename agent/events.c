#include "agent/events.h"

#include <stdarg.h>
#include <stdio.h>

void events_add(struct events *ev, int64_t now_s, const char *format, ...)
{
    struct event_note *one = &ev->ring[ev->n++ % EVENTS_MAX];
    va_list args;
    one->at = now_s;
    va_start(args, format);
    (void)vsnprintf(one->text, sizeof one->text, format, args);
    va_end(args);
}

const struct event_note *events_get(const struct events *ev, size_t index)
{
    if (index >= ev->n || index >= EVENTS_MAX)
        return NULL;
    return &ev->ring[(ev->n - 1 - index) % EVENTS_MAX];
}
