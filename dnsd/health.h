/* health.h - whether every serving thread still answers, and whether the challenge stores can be
 * read. Asks once a second; tells the service manager's watchdog. The main thread's loop. */
#ifndef LANYARD_DNSD_HEALTH_H
#define LANYARD_DNSD_HEALTH_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/loop.h"
#include "dnsd/mailbox.h"
#include "common/base/notify.h"
#include "dnsd/reader.h"

struct health; /* opaque */

struct health_parts {
    struct loop *loop;
    struct mailbox *const *mailboxes; /* of the serving threads */
    size_t n_mailboxes;
    struct reader *reader;
    struct view *const *view; /* where the present view is */
    const struct notify *notify;
};

/* Begins to ask. The parts are borrowed until health_free(), before which the threads go on.
 * Errors: ERR_NOMEM. */
NODISCARD enum err health_new(struct health **out, const struct health_parts *parts);

void health_free(struct health *h);

/* Whether every serving thread has answered within the last seconds. */
bool health_is_alive(const struct health *h);

/* NULL when all that the zones need is there; otherwise what is not, a sentence. */
const char *health_not_ready(const struct health *h);

#endif
