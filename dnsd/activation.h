/* activation.h - sockets that a service manager has bound and passed on (LISTEN_FDS): they stay
 * bound, and what arrives waits in them, while this program is not there. The main thread, at
 * start. */
#ifndef LANYARD_DNSD_ACTIVATION_H
#define LANYARD_DNSD_ACTIVATION_H

#include <stdbool.h>

#include "common/net/addr.h"

#define ACTIVATION_MAX 256

struct activation {
    struct {
        int fd;
        int type; /* SOCK_DGRAM, or SOCK_STREAM that listens; anything else is nobody's */
        struct addr addr;
        bool used;
    } sockets[ACTIVATION_MAX];
    unsigned n;
};

/* Takes over the sockets that were passed to this process, if any, and takes their variables out of
 * the environment. */
void activation_init(struct activation *a);

/* A socket of `type` that is bound to `addr`, non-blocking, for the caller to close; -1 when none
 * was passed. Of several the `turn`th, counted round, so that workers can have one each; asked for
 * more often than there are, they share. */
int activation_get(struct activation *a, const struct addr *addr, int type, unsigned turn);

/* Closes what was passed, and logs what nobody asked for. */
void activation_clear(struct activation *a);

#endif
