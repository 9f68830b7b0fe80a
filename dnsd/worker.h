/* worker.h - one thread that answers over UDP, with a socket of its own for each address, and the
 * queues of network interfaces that are its own. */
#ifndef LANYARD_DNSD_WORKER_H
#define LANYARD_DNSD_WORKER_H

#include <stddef.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "dnsd/core/view.h"
#include "dnsd/mailbox.h"
#include "dnsd/reader.h"
#include "dnsd/xdp.h"

struct worker; /* opaque */

/* What a worker answers on. It all stays the caller's, and open until worker_free(). */
struct worker_ways {
    const int *fds; /* bound sockets */
    size_t n_fds;
    struct xdp_queue *const *queues;
    size_t n_queues;
};

/* Starts the thread. */
NODISCARD enum err worker_new(struct worker **out, const struct worker_ways *ways,
                              const struct view *view, struct reader *reader,
                              struct err_info *info);

/* Ends the thread. */
void worker_free(struct worker *w);

struct mailbox *worker_mailbox(struct worker *w);

/* What it has answered; any thread reads. */
const struct tally *worker_tally(const struct worker *w);

#endif
