/* sockets.h - every socket of the daemon, bound at start, before root is given up. The main
 * thread. */
#ifndef LANYARD_DNSD_SOCKETS_H
#define LANYARD_DNSD_SOCKETS_H

#include <stddef.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "dnsd/config.h"
#include "dnsd/xdp.h"

struct sockets {
    int *udp; /* listen.n for each worker */
    int *tcp; /* listen.n */
    int *tls; /* listen_tls.n */
    size_t n_udp, n_tcp, n_tls;
    int metrics, public_; /* -1 where there is none */
    struct xdp **xdp;     /* interfaces */
    size_t n_xdp;
    struct xdp_queue ***queues; /* of theirs, for each worker */
    size_t *n_queues;           /* that each has */
    size_t n_workers;
};

/* Binds what `c` names, or takes it from the service manager. Errors: ERR_CONFIG with "FILE:LINE:
 * ..." for an address that cannot be bound or an interface without AF_XDP, ERR_NOMEM. */
NODISCARD enum err sockets_open(struct sockets *out, const struct config *c, struct err_info *info);

/* Closes them. All zero, or after an error, is fine too. */
void sockets_close(struct sockets *s);

#endif
