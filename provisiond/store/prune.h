/* prune.h - takes away orders and certificates that nobody can ask for any more. Blocking: store
 * thread, inside a transaction. */
#ifndef LANYARD_PROVISIOND_STORE_PRUNE_H
#define LANYARD_PROVISIOND_STORE_PRUNE_H

#include "provisiond/store/sql.h"

/* Looks at the order numbers after *after, two thousand of them, and removes each order with its
 * certificate that ended before `before_s` (Unix seconds), whose certificate expired before then,
 * that has no revocation under way, and that is not the newest of its device: that one is what the
 * device asks for. Keys ever seen, devices, tokens and the audit log stay. *after receives where
 * the next call goes on, 0 at the end of the table; *n_removed is counted up. */
NODISCARD enum err prune_orders(struct sql *db, int64_t before_s, int64_t *after,
                                int64_t *n_removed, struct err_info *info);

#endif
