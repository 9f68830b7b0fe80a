/* proxy.h - TLS in front of an application that has none: one listening socket, one backend, and
 * the tunnels between. A new certificate is used from the next connection on; the present ones go
 * on with theirs. One loop, its thread. */
#ifndef LANYARD_AGENT_PROXY_H
#define LANYARD_AGENT_PROXY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include <openssl/ssl.h>

#include "agent/core/alpn.h"
#include "agent/tunnel.h"
#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/loop.h"

struct proxy; /* opaque */

struct proxy_options {
    struct sockaddr_storage backend;
    socklen_t backend_len;
    const char *label;      /* for the log, such as "0.0.0.0:8443 -> 127.0.0.1:80"; copied */
    bool proxy_protocol;    /* see tunnel.h */
    struct alpn alpn;       /* what the backend speaks */
    size_t connections_max; /* at once; further clients wait in the kernel's queue */
    int64_t handshake_ms, connect_ms, idle_ms, half_ms; /* see tunnel.h */
};

/* Since the start. */
struct proxy_counters {
    uint64_t open, accepted; /* connections now; ever */
    uint64_t
        refused; /* closed because there was no certificate yet, or no room for one by a relay */
    uint64_t handshake_failures, backend_failures, aborted, idle_closed;
    uint64_t bytes_up, bytes_down; /* client to backend, backend to client, of ended connections */
};

/* A proxy on the listening socket `fd` (taken over on success). Without a certificate (see
 * proxy_set_tls()) clients are closed at once. Errors: ERR_NOMEM. */
NODISCARD enum err proxy_new(struct proxy **out, struct loop *l, int fd,
                             const struct proxy_options *o);

/* Uses `tls` for connections accepted from now on; takes a reference. */
void proxy_set_tls(struct proxy *p, SSL_CTX *tls);

/* Serves a client that came another way, on the non-blocking socket `fd`, which is taken over;
 * `ends` is who it is. False, and closed, when there is no certificate or no room: at most half of
 * all connections are such, so that nobody far away can keep out those who are near. */
bool proxy_adopt(struct proxy *p, int fd, const struct tunnel_ends *ends);

struct proxy_counters proxy_counters(const struct proxy *p);

/* Closes the listener and every connection. */
void proxy_free(struct proxy *p);

#endif
