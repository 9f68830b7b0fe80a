/* xdp.h - questions and replies past the kernel's network stack: a socket of the address family
 * AF_XDP for each receive queue of an interface, in whose shared memory a frame with a question is
 * turned into the one with the reply. What the filter (xdpfilter.h) does not take, TCP above all,
 * comes by the ordinary sockets, and so does everything once the interface has gone. Opened by the
 * main thread at the start; then each queue is one thread's. */
#ifndef LANYARD_DNSD_XDP_H
#define LANYARD_DNSD_XDP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/addr.h"
#include "dnsd/core/query.h"
#include "dnsd/reader.h"
#include "dnsd/tally.h"

#define XDP_BATCH 64

struct xdp;       /* an interface; opaque */
struct xdp_queue; /* one of its queues; opaque */

/* What a worker listens on, by address. */
struct xdp_listens {
    const struct addr *at;
    size_t n;
};

/* Takes the questions for `listens` out of the traffic of the interface `name`, those for every
 * address out of what is for the interface's own. Errors: ERR_IO, ERR_NOMEM, with a sentence that
 * names neither option nor interface. */
NODISCARD enum err xdp_open(struct xdp **out, const char *name, const struct xdp_listens *listens,
                            struct err_info *info);

/* Its queues are gone as well. NULL is fine. */
void xdp_close(struct xdp *x);

size_t xdp_n_queues(const struct xdp *x);
struct xdp_queue *xdp_queue_of(struct xdp *x, size_t i);

/* Whether the filter works in the driver, before the kernel has made a packet of the frame. */
bool xdp_in_driver(const struct xdp *x);

/* To wait for. */
int xdp_fd(const struct xdp_queue *q);

/* Answers what waits, up to one batch, and counts it in `tally`; questions for challenges go to
 * `reader`, which replies by the socket in `fds` of the address that was asked (they are in the
 * order of the listens). Returns how many frames there were. Waits for 10 ms at most, for room to
 * send. */
unsigned xdp_serve(struct xdp_queue *q, struct query_ctx *ctx, struct reader *reader,
                   const int *fds, struct tally *tally);

/* Whether the interface of a queue that poll() reported an error for has gone. */
bool xdp_has_ended(const struct xdp_queue *q);

/* Frames that the kernel had no room for. Any thread. */
uint64_t xdp_dropped(const struct xdp *x);

#endif
