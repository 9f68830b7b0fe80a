/* worker.h - one thread that answers over UDP, with a socket of its own for each address. */
#ifndef LANYARD_DNSD_WORKER_H
#define LANYARD_DNSD_WORKER_H

#include <stddef.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "dnsd/core/view.h"
#include "dnsd/mailbox.h"
#include "dnsd/reader.h"

struct worker; /* opaque */

/* Starts the thread on the `n` bound sockets `fds`, which stay the caller's and open until
 * worker_free(). */
NODISCARD enum err worker_new(struct worker **out, const int *fds, size_t n,
                              const struct view *view, struct reader *reader,
                              struct err_info *info);

/* Ends the thread. */
void worker_free(struct worker *w);

struct mailbox *worker_mailbox(struct worker *w);

/* What it has answered; any thread reads. */
const struct tally *worker_tally(const struct worker *w);

#endif
