#include "agent/core/tries.h"

enum tries_step tries_next(struct tries *t, enum tries_event event, int64_t *wait_ms)
{
    bool last = t->tcp || t->n_sent == TRIES_UDP_N;
    switch (event) {
    case TRIES_DUE:
        if (last)
            return TRIES_END;
        t->n_sent++;
        *wait_ms = TRIES_UDP_MS;
        return TRIES_SEND;
    case TRIES_REFUSED: /* at first it may be a resolver that starts */
        return last ? TRIES_END : TRIES_WAIT;
    case TRIES_TRUNCATED:
        if (t->tcp)
            return TRIES_END;
        t->tcp = true;
        *wait_ms = TRIES_TCP_MS;
        return TRIES_TCP;
    default:
        return TRIES_END;
    }
}
