/* queue.h - the orders that wait for their turn: which may begin now. Blocking: store thread,
 * inside a transaction.
 *
 * An order waits in one of two ways: until a moment (wake_at), or, with wake_at 0, in its lane for
 * a place in the CA's limits and in our own concurrency. An order that may begin is found by an
 * index, however many wait, and a bucket that is empty costs one look for all who wait for it. */
#ifndef LANYARD_PROVISIOND_STORE_QUEUE_H
#define LANYARD_PROVISIOND_STORE_QUEUE_H

#include "provisiond/core/bucket.h"
#include "provisiond/core/schedule.h"
#include "provisiond/store/ledger.h"
#include "provisiond/store/order.h"
#include "provisiond/store/sql.h"

#define QUEUE_ZONES_MAX 16
#define QUEUE_CLAIM_MAX 64 /* orders of one claim */

/* The head of one lane: the statement that must not read all who wait. */
#define QUEUE_SELECT_HEAD                                                                          \
    "SELECT id, deadline_at, exempt_from, exempt_until, device_id, replaces_account"               \
    " FROM cert_order"                                                                             \
    " WHERE issuer=$1 AND zone=$2 AND pays=$3 AND lane=$4 AND state='queued'"                      \
    " AND wake_at=0 ORDER BY deadline_at, id LIMIT $5"

/* What an order has paid, and gets back when the CA refuses it: bits of order_row.paid. */
#define QUEUE_PAID(kind) (1 << (kind))

struct queue_issuer {
    const char *name;
    const char *zones[QUEUE_ZONES_MAX]; /* those that may order from it */
    size_t n_zones;
    struct bucket_limit limit[BUCKET_KIND_N];
    size_t n_accounts; /* each with orders of its own to spend; 0 is one */
    /* their URLs, by number, with several: a renewal stays with its own. NULL: not known yet */
    char *account[LEDGER_ACCOUNTS_MAX];
    int64_t room; /* orders that may begin; counted down */
};

/* Where a new order stands, and what it may name to the CA. */
struct queue_place {
    struct schedule_place schedule;
    char replaces[ORDER_ARI_ID_MAX], replaces_account[ISSUER_URL_MAX]; /* "" for none */
    int64_t replaces_until;
};

/* The place of `row`, which is about to be made: by the certificate that the device has. */
NODISCARD enum err queue_place(struct sql *db, const struct order_row *row,
                               const struct schedule_policy *policy, int64_t now_s,
                               struct queue_place *out, struct err_info *info);

/* Claims up to `max` orders for `lease`, the most urgent first: those that were under way when
 * their holder died, then lane by lane. A new one is moved to state ordering and pays for it in the
 * same transaction. Orders that another node is claiming at this moment are passed over. fn gets
 * each. *next_at receives the moment when more may be due, 0 when nothing is foreseen; the end of a
 * lease is not. */
NODISCARD enum err queue_claim(struct sql *db, struct queue_issuer *issuers, size_t n_issuers,
                               int64_t now_s, const struct order_lease *lease, size_t max,
                               void (*fn)(void *arg, const struct order_row *row), void *arg,
                               int64_t *next_at, struct err_info *info);

/* The orders that this very claim has taken, of which nobody could be told: the connection broke
 * during its commit. */
NODISCARD enum err queue_claimed(struct sql *db, const struct order_lease *lease, size_t max,
                                 void (*fn)(void *arg, const struct order_row *row), void *arg,
                                 struct err_info *info);

/* Gives back those of what the order had paid that are in `kinds`, QUEUE_PAID() of each. */
NODISCARD enum err queue_refund(struct sql *db, const struct order_row *row,
                                const struct bucket_limit *limits, int kinds,
                                struct err_info *info);

/* Counts against the limits `kinds`, bits of QUEUE_PAID(), though nothing may be left of them: the
 * CA has counted the order. */
NODISCARD enum err queue_charge(struct sql *db, const struct order_row *row,
                                const struct bucket_limit *limits, int kinds, int64_t now_s,
                                struct err_info *info);

/* Counts a failed validation of the order's name. */
NODISCARD enum err queue_count_failure(struct sql *db, const struct order_row *row,
                                       const struct bucket_limit *limits, int64_t now_s,
                                       struct err_info *info);

/* The CA refused the order by its limit of `kind`, until `until_s`. */
NODISCARD enum err queue_park(struct sql *db, const struct order_row *row, enum bucket_kind kind,
                              const struct bucket_limit *limits, int64_t until_s,
                              struct err_info *info);

/* A limit that the operator knows to be open: its bucket is full again, and orders that wait for a
 * limit of that issuer (of `zone` or `device_id`, "" for all) queue now. *was_there tells whether
 * anything was written down, *woken how many orders. */
NODISCARD enum err queue_reopen(struct sql *db, const struct ledger_key *key, const char *zone,
                                const char *device_id, int64_t now_s, bool *was_there,
                                int64_t *woken, struct err_info *info);

/* Takes orders whose failover time has come from `from` to `to` (NULL: none, they only move to the
 * first lane), at most `max`. They have `grace_s` there before the next step. A predecessor of
 * another CA is never named. */
NODISCARD enum err queue_failover(struct sql *db, const char *from, const char *to,
                                  const char *zone, int64_t now_s, int64_t grace_s, int64_t max,
                                  int64_t *moved, struct err_info *info);

/* The same for first certificates that have waited since before `asked_before`: for a CA that does
 * not answer at all. */
NODISCARD enum err queue_failover_new(struct sql *db, const char *from, const char *to,
                                      const char *zone, int64_t asked_before, int64_t max,
                                      int64_t *moved, struct err_info *info);

/* Orders of `zone` that nobody holds and that are at an issuer the zone does not name (any more):
 * they begin anew at the first of `issuers`. For the start of a node: a configuration has changed.
 */
NODISCARD enum err queue_adopt(struct sql *db, const char *zone, const char *const *issuers,
                               size_t n_issuers, int64_t now_s, int64_t *moved,
                               struct err_info *info);

#endif
