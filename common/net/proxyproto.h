/* proxyproto.h - what a load balancer says before the first byte of its client: the PROXY protocol,
 * version 2 [haproxy's proxy-protocol.txt, s2.2]. Pure; any thread. */
#ifndef LANYARD_NET_PROXYPROTO_H
#define LANYARD_NET_PROXYPROTO_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/span.h"
#include "common/net/addr.h"

#define PROXYPROTO_HEAD 16  /* bytes that say how long it is */
#define PROXYPROTO_MAX 2048 /* bytes of a header that is taken, what is added to it included */

struct proxyproto {
    bool has_peer;    /* false: a connection of the load balancer itself, a check of our health */
    struct addr peer; /* an IPv4 address mapped into IPv6 is IPv4 here */
};

/* The length of the whole header from its first PROXYPROTO_HEAD bytes. Errors: ERR_INVALID when
 * they begin none, or one that is longer than PROXYPROTO_MAX. */
NODISCARD enum err proxyproto_length(size_t *out, struct span head);

/* Reads a whole header. Errors: ERR_INVALID for another length, version or command, and for
 * anything but TCP over IPv4 or IPv6. */
NODISCARD enum err proxyproto_parse(struct proxyproto *out, struct span header);

#endif
