#include "provisiond/core/gate.h"

void gate_init(struct gate *g, int64_t max)
{
    *g = (struct gate){ .in_flight = 0 };
    aimd_init(&g->aimd, max);
}

int64_t gate_room(const struct gate *g, int64_t now_ms)
{
    if (!breaker_allows(&g->breaker, now_ms))
        return 0;
    if (g->breaker.open)
        return 1; /* the probe, however many of before still hang */
    int64_t room = g->aimd.limit - g->in_flight;
    return room > 0 ? room : 0;
}

int64_t gate_opens_at_ms(const struct gate *g, int64_t looked_at_ms)
{
    const struct breaker *b = &g->breaker;
    return b->open && b->probe_at_ms > looked_at_ms ? b->probe_at_ms : INT64_MAX;
}

void gate_begin(struct gate *g, int64_t now_ms)
{
    g->in_flight++;
    breaker_begin(&g->breaker, now_ms);
}

void gate_end(struct gate *g)
{
    g->in_flight--;
}

void gate_note(struct gate *g, enum gate_reply reply, int64_t now_ms, int64_t retry_after_s,
               uint32_t random)
{
    if (reply == GATE_AWAY) {
        breaker_fail(&g->breaker, now_ms, retry_after_s, random);
        aimd_fail(&g->aimd, now_ms);
        return;
    }
    breaker_succeed(&g->breaker);
    if (reply == GATE_BUSY)
        aimd_fail(&g->aimd, now_ms);
    else
        aimd_succeed(&g->aimd);
}
