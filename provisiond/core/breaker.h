/* breaker.h - stops asking a CA that does not answer. Closed it lets everything through; a run of
 * failures opens it; after a wait one request is let through as a probe, and its outcome decides.
 * Pure; one thread at a time. Times are monotonic milliseconds. */
#ifndef LANYARD_PROVISIOND_CORE_BREAKER_H
#define LANYARD_PROVISIOND_CORE_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

struct breaker {       /* starts zeroed */
    unsigned failures; /* in a row */
    unsigned trips;    /* since it was last closed */
    bool open, probing;
    int64_t open_since_ms;
    int64_t probe_at_ms; /* when open: not before */
};

/* Whether a request may begin now; when open, one as the probe. */
bool breaker_allows(const struct breaker *b, int64_t now_ms);

/* A request begins. */
void breaker_begin(struct breaker *b, int64_t now_ms);

/* The CA answered like a CA, whatever it said. */
void breaker_succeed(struct breaker *b);

/* No answer, or one of a server in trouble. `retry_after_s` is what it asked for, 0 when nothing.
 * `random` spreads the probes of several nodes. */
void breaker_fail(struct breaker *b, int64_t now_ms, int64_t retry_after_s, uint32_t random);

#endif
