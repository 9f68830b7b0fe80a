/* httpconn.h - one connection of an httpd listener: bufferevent, deadlines, and the request that is
 * under way. Only httpd.c includes this; everybody else uses httpd.h. One loop, its thread.
 *
 *     HANDSHAKE -> IDLE -> READING -> HANDLING -> WRITING -> IDLE, or LINGER -> gone
 *
 * Every state has one absolute deadline. */
#ifndef LANYARD_NET_HTTPCONN_H
#define LANYARD_NET_HTTPCONN_H

#include <stdbool.h>

#include <openssl/ssl.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/addr.h"
#include "common/net/httpd.h"
#include "common/net/loop.h"

struct httpconn; /* opaque */

/* What the connections of one listener share; outlives them. */
struct httpconn_env {
    struct loop *loop;
    struct httpd_limits limits;
    httpd_handler *fn;
    void *arg;
    struct httpd_counts *counts;
    bool draining; /* responses close their connection */
};

/* Serves the accepted, non-blocking socket `fd`, which is taken over also on an error. `tls` NULL
 * is plain HTTP. closed(closed_arg) is called once, from the loop, when the connection has ended by
 * itself: *out is then dead. Errors: ERR_NOMEM. */
NODISCARD enum err httpconn_new(struct httpconn **out, const struct httpconn_env *env, int fd,
                                SSL_CTX *tls, const struct addr *peer, void (*closed)(void *arg),
                                void *closed_arg);

/* Closes at once, without `closed`; a request that waits for its response gets its on_gone call. */
void httpconn_free(struct httpconn *c);

/* Closes the connection soon, by its `closed` call, unless a request is under way. */
void httpconn_drain(struct httpconn *c);

#endif
