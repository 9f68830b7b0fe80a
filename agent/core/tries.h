/* tries.h - when a question to a resolver is sent again, and when it is given up: 1.5 seconds of
 * UDP, the same again, and 3 seconds of TCP once an answer was truncated. The clock is the caller's
 * timer. Pure; any thread. */
#ifndef LANYARD_AGENT_CORE_TRIES_H
#define LANYARD_AGENT_CORE_TRIES_H

#include <stdbool.h>
#include <stdint.h>

#define TRIES_UDP_N 2
#define TRIES_UDP_MS 1500 /* each */
#define TRIES_TCP_MS 3000
/* Who does not answer at all is given up after so long. */
#define TRIES_SILENT_MS (TRIES_UDP_N * TRIES_UDP_MS)
/* No question takes longer, whatever is answered. */
#define TRIES_MAX_MS (TRIES_SILENT_MS + TRIES_TCP_MS)

/* All zeros when new. */
struct tries {
    unsigned n_sent; /* by UDP */
    bool tcp;
};

enum tries_event {
    TRIES_DUE,       /* the wait is over; the first event of all */
    TRIES_REFUSED,   /* the port is closed */
    TRIES_TRUNCATED, /* the answer was */
    TRIES_NO_WAY,    /* there is no route, or no socket */
};

enum tries_step {
    TRIES_SEND, /* by UDP, and wait */
    TRIES_TCP,  /* ask by TCP, and wait */
    TRIES_WAIT, /* go on with the wait that there is */
    TRIES_END,  /* there is no answer */
};

/* What to do at `event`; *wait_ms is set with TRIES_SEND and TRIES_TCP. */
enum tries_step tries_next(struct tries *t, enum tries_event event, int64_t *wait_ms);

#endif
