/* flow.h - one direction of a connection through the relay: bytes go from one socket to the other
 * by way of a pipe, and not into this process [splice(2)], but for want of descriptors. One thread.
 */
#ifndef LANYARD_PROVISIOND_RELAY_FLOW_H
#define LANYARD_PROVISIOND_RELAY_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "provisiond/relay/pipes.h"

/* A socket and what it is known to be ready for: set by the loop, cleared by EAGAIN. */
struct flow_end {
    int fd;
    bool readable, writable;
};

/* All zero is the beginning. */
struct flow {
    int pipe[2]; /* while `held` is above 0 */
    size_t held; /* bytes in it */
    bool eof;    /* the reader said so */
    bool shut;   /* and it was passed on to the writer */
};

enum flow_step {
    FLOW_MOVED,   /* something happened: call again */
    FLOW_BLOCKED, /* one of the sockets is not ready, or all is said */
    FLOW_BROKEN,
};

/* Moves at most `budget` bytes, 1 and up, once; *moved is how many `to` took. */
enum flow_step flow_move(struct flow *f, struct flow_end *from, struct flow_end *to,
                         struct pipes *pipes, size_t budget, size_t *moved);

void flow_clear(struct flow *f, struct pipes *pipes);

#endif
