/* statusweb.h - the pages for operators and load balancers: /metrics on one listener, /healthz and
 * /readyz on another. Plain HTTP. The main thread's loop. */
#ifndef LANYARD_DNSD_STATUSWEB_H
#define LANYARD_DNSD_STATUSWEB_H

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/net/loop.h"
#include "dnsd/health.h"

struct statusweb; /* opaque */

struct statusweb_parts {
    struct loop *loop;
    int *metrics_fd, *public_fd; /* listening sockets; what is taken over becomes -1 */
    const struct health *health;
    void (*write_metrics)(struct buf *out, void *arg);
    void *arg;
};

/* Serves on the sockets that there are. The parts are borrowed until statusweb_free(). Errors:
 * ERR_NOMEM, ERR_IO. */
NODISCARD enum err statusweb_new(struct statusweb **out, const struct statusweb_parts *parts);

void statusweb_free(struct statusweb *w);

#endif
