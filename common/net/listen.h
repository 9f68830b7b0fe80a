/* listen.h - bound sockets. Any thread; non-blocking, close-on-exec descriptors. */
#ifndef LANYARD_NET_LISTEN_H
#define LANYARD_NET_LISTEN_H

#include <stdbool.h>

#include "common/net/addr.h"

/* A bound UDP socket into *fd, which the caller closes. With `share` several sockets may have the
 * address (SO_REUSEPORT), but only those of one user. IPv6 sockets take IPv6 only. `rcvbuf` bytes
 * of receive buffer are asked for (0: the system's default). Errors: ERR_EXISTS when the port is in
 * use, ERR_DENIED (a port below 1024), ERR_IO; the sentence names the address and what to do. */
NODISCARD enum err listen_udp(int *fd, const struct addr *a, bool share, int rcvbuf,
                              struct err_info *info);

/* A listening TCP socket into *fd; otherwise as listen_udp(). */
NODISCARD enum err listen_tcp(int *fd, const struct addr *a, bool share, struct err_info *info);

/* A listening Unix stream socket at `path` with `mode`. A socket file that nobody serves any more
 * is replaced; one that answers is ERR_EXISTS. */
NODISCARD enum err listen_unix(int *fd, const char *path, unsigned mode, struct err_info *info);

#endif
