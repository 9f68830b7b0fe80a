/* tunnel.h - one proxied connection: TLS from the client on one side, plain bytes to the backend on
 * the other. Nothing is parsed. What one side does not take stops the reading of the other, so that
 * at most TUNNEL_HELD_MAX bytes wait in each direction; between bursts a tunnel holds no buffer at
 * all. The end of one direction is passed on (close_notify, FIN) while the other goes on.
 * One loop, its thread. */
#ifndef LANYARD_AGENT_TUNNEL_H
#define LANYARD_AGENT_TUNNEL_H

#include <stdbool.h>
#include <stdint.h>

#include <openssl/ssl.h>

#include "agent/core/alpn.h"
#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/loop.h"

#include <sys/socket.h>

#define TUNNEL_HELD_MAX (64 * 1024) /* bytes read from one side and not yet taken by the other */

struct tunnel; /* opaque */

enum tunnel_end {
    TUNNEL_DONE,      /* both sides said what they had */
    TUNNEL_HANDSHAKE, /* the client did not get through the TLS handshake (in time) */
    TUNNEL_BACKEND,   /* no connection to the backend */
    TUNNEL_ABORTED,   /* reset, or cut off without a close */
    TUNNEL_IDLE,      /* nothing moved for too long */
};

/* Who is at the two ends of the client's connection, where the socket does not know: the client
 * came by a relay. */
struct tunnel_ends {
    struct sockaddr_storage client, ours;
};

struct tunnel_options {
    const struct sockaddr_storage *backend; /* TCP or Unix; borrowed */
    socklen_t backend_len;
    bool proxy_protocol;     /* the backend is told who the client is: see proxyheader.h */
    const struct alpn *alpn; /* what the backend speaks */
    int64_t handshake_ms;    /* for the whole TLS handshake */
    int64_t connect_ms;      /* for the backend to accept */
    int64_t idle_ms;         /* without a byte in either direction */
    int64_t half_ms;         /* the same, once one direction has ended */
    /* Called once, when the tunnel has ended by itself; `t` is freed after the call. */
    void (*on_end)(void *arg, struct tunnel *t, enum tunnel_end why, uint64_t bytes_up,
                   uint64_t bytes_down);
    void *arg;
};

/* A tunnel for the accepted non-blocking socket `client_fd` (taken over, also on an error), with a
 * new connection of `tls`. `ends` NULL: those of the socket. Errors: ERR_NOMEM. */
NODISCARD enum err tunnel_new(struct tunnel **out, struct loop *l, int client_fd, SSL_CTX *tls,
                              const struct tunnel_options *o, const struct tunnel_ends *ends);

/* Cuts both connections without a call to on_end. */
void tunnel_free(struct tunnel *t);

/* Links for the owner's list of tunnels. */
struct tunnel *tunnel_next(const struct tunnel *t);
void tunnel_link(struct tunnel **list, struct tunnel *t);
void tunnel_unlink(struct tunnel **list, struct tunnel *t);

#endif
