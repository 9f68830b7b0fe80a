/* pipes.h - empty pipes, kept for the next connection that has bytes to move: an idle connection
 * has none. One thread. */
#ifndef LANYARD_PROVISIOND_RELAY_PIPES_H
#define LANYARD_PROVISIOND_RELAY_PIPES_H

#include <stdbool.h>

#include "common/base/attr.h"
#include "common/base/err.h"

#define PIPES_KEPT_MAX 64
#define PIPES_BYTES (256 * 1024) /* asked of each */

struct pipes { /* all zero is none kept */
    unsigned n_kept, n_open;
    int kept[PIPES_KEPT_MAX][2];
};

/* A pipe, read end first, non-blocking. Errors: ERR_IO when the system has none. */
NODISCARD enum err pipes_take(struct pipes *p, int fds[2]);

/* Gives back a pipe, which must be `empty` to be used again; otherwise it is closed. */
void pipes_give(struct pipes *p, int fds[2], bool empty);

void pipes_clear(struct pipes *p);

#endif
