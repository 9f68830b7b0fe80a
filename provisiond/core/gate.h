/* gate.h - how many orders may begin at a CA now: by whether it answers, and by how many at once it
 * bears. Pure; one thread at a time. Times are monotonic milliseconds. */
#ifndef LANYARD_PROVISIOND_CORE_GATE_H
#define LANYARD_PROVISIOND_CORE_GATE_H

#include <stdint.h>

#include "provisiond/core/aimd.h"
#include "provisiond/core/breaker.h"

enum gate_reply {
    GATE_OK,   /* it answered */
    GATE_BUSY, /* it answered that we ask too much at once */
    GATE_AWAY, /* no answer, or that of a server in trouble */
};

struct gate {
    struct breaker breaker;
    struct aimd aimd;
    int64_t in_flight;
};

/* `max` orders at once at most, 1 and up. */
void gate_init(struct gate *g, int64_t max);

/* Orders that may begin now. */
int64_t gate_room(const struct gate *g, int64_t now_ms);

/* When one that was shut at `looked_at_ms` lets a probe through; INT64_MAX when it was open then:
 * whoever found nothing to begin need not look again until there is something. */
int64_t gate_opens_at_ms(const struct gate *g, int64_t looked_at_ms);

void gate_begin(struct gate *g, int64_t now_ms);
void gate_end(struct gate *g);

/* A reply to any request. `retry_after_s`, `random`: as for breaker_fail(). */
void gate_note(struct gate *g, enum gate_reply reply, int64_t now_ms, int64_t retry_after_s,
               uint32_t random);

#endif
