/* crlsync.h - keeps the revocation lists of the local CAs as the database says: looked at every
 * minute, so that a revocation on another node arrives here too, and made anew every day. One loop,
 * its thread; the look is a job of the store thread. */
#ifndef LANYARD_PROVISIOND_CRLSYNC_H
#define LANYARD_PROVISIOND_CRLSYNC_H

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/loop.h"
#include "provisiond/config.h"
#include "provisiond/issuers.h"
#include "provisiond/store/jobs.h"

struct crlsync; /* opaque */

/* Begins at once, where there is a local CA. Borrows all until crlsync_free(). Errors: ERR_NOMEM.
 */
NODISCARD enum err crlsync_new(struct crlsync **out, struct loop *l, const struct config *config,
                               const struct issuers *issuers, struct jobs *store);

/* The store's jobs must be done. NULL does nothing. */
void crlsync_free(struct crlsync *s);

#endif
