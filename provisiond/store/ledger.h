/* ledger.h - what was spent of each CA's limits: the buckets of core/bucket.h in the database, so
 * that all nodes together keep to them. Blocking: store thread, inside a transaction. Each change
 * is one statement that the database makes alone, however many nodes there are. */
#ifndef LANYARD_PROVISIOND_STORE_LEDGER_H
#define LANYARD_PROVISIOND_STORE_LEDGER_H

#include "provisiond/core/bucket.h"
#include "provisiond/store/sql.h"

#define LEDGER_ACCOUNTS_MAX 16 /* of one issuer */

/* One bucket: `name` is the zone or the device that is counted, or ledger_account_name(). */
struct ledger_key {
    const char *issuer;
    enum bucket_kind kind;
    const char *name;
};

/* The name of a bucket that belongs to account number `account` of its issuer: "" for number 0.
 * Never NULL. */
const char *ledger_account_name(size_t account);

/* *tat_us receives the bucket's number, 0 where none is written down. */
NODISCARD enum err ledger_get(struct sql *db, const struct ledger_key *key, int64_t *tat_us,
                              struct err_info *info);

/* Spends one event if `reserve` are left after it; *spent tells. Without a limit nothing is written
 * and *spent is true. */
NODISCARD enum err ledger_spend(struct sql *db, const struct ledger_key *key,
                                struct bucket_limit limit, int64_t reserve, int64_t now_us,
                                bool *spent, struct err_info *info);

/* Counts an event that has happened, whatever is left. */
NODISCARD enum err ledger_count(struct sql *db, const struct ledger_key *key,
                                struct bucket_limit limit, int64_t now_us, struct err_info *info);

/* Forgets the bucket: full, until something is spent or the CA closes it again. *there tells
 * whether there was anything to forget. */
NODISCARD enum err ledger_reopen(struct sql *db, const struct ledger_key *key, bool *there,
                                 struct err_info *info);

/* Takes one event back. */
NODISCARD enum err ledger_refund(struct sql *db, const struct ledger_key *key,
                                 struct bucket_limit limit, struct err_info *info);

/* The CA said "not before `until_us`". */
NODISCARD enum err ledger_park(struct sql *db, const struct ledger_key *key,
                               struct bucket_limit limit, int64_t until_us, struct err_info *info);

/* No bucket stays closed for longer than its period and a day: only a clock that was far ahead, and
 * set back, leaves such a one. A CA that meant it says it again. */
NODISCARD enum err ledger_clock_back(struct sql *db, const char *issuer,
                                     const struct bucket_limit limits[BUCKET_KIND_N],
                                     int64_t now_us, struct err_info *info);

/* Drops up to `max` buckets that are full again: they are as good as not written down. */
NODISCARD enum err ledger_prune(struct sql *db, int64_t now_us, int64_t max, struct err_info *info);

/* *n receives how many of the buckets of that kind let nothing through now. Reads all of them. */
NODISCARD enum err ledger_count_closed(struct sql *db, const char *issuer, enum bucket_kind kind,
                                       struct bucket_limit limit, int64_t now_us, int64_t *n,
                                       struct err_info *info);

#endif
