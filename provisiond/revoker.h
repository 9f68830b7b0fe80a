/* revoker.h - carries out the revocations that were written down: one at a time, at the account
 * that issued the certificate, again with a growing wait while the CA does not take it. Every node
 * looks for them every few seconds. One loop, its thread; the database is the store thread's. */
#ifndef LANYARD_PROVISIOND_REVOKER_H
#define LANYARD_PROVISIOND_REVOKER_H

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/loop.h"
#include "provisiond/config.h"
#include "provisiond/issuers.h"
#include "provisiond/store/jobs.h"

struct revoker; /* opaque */

struct revoker_parts {
    struct loop *loop;
    const struct config *config;
    struct issuers *issuers;
    struct jobs *store;
};

/* Begins at once. Everything in `parts` is borrowed until revoker_free(). Errors: ERR_NOMEM. */
NODISCARD enum err revoker_new(struct revoker **out, const struct revoker_parts *parts);

/* The issuers and the store must be at their end: neither calls back. What was under way is done
 * again after its lease. NULL does nothing. */
void revoker_free(struct revoker *r);

#endif
