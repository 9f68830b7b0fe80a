/* bucket.h - the limits of a CA as we mirror them: token buckets, each in one number (generic cell
 * rate algorithm, with a burst as large as the limit, as Boulder has it). The number is the moment,
 * in microseconds, at which the bucket will be full again ("tat"); 0 and anything past is full.
 * Pure; any thread. */
#ifndef LANYARD_PROVISIOND_CORE_BUCKET_H
#define LANYARD_PROVISIOND_CORE_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"

enum bucket_kind {
    BUCKET_ALL,      /* everything of the account: only ever closed by the CA's own word */
    BUCKET_ORDERS,   /* new orders of the account */
    BUCKET_DOMAIN,   /* certificates under the registered domain */
    BUCKET_SET,      /* certificates for exactly the same names */
    BUCKET_FAILURES, /* failed validations of one name */
    BUCKET_KIND_N
};

/* `count` events in `period_s`. count 0: no limit of our own; the CA may still close it. */
struct bucket_limit {
    int64_t count, period_s;
};

/* Lower-case name as stored and shown. Never NULL. */
const char *bucket_kind_name(enum bucket_kind kind);

/* The limit that a CA has without the operator saying so: Let's Encrypt's. */
struct bucket_limit bucket_limit_default(enum bucket_kind kind);

/* Reads "300/3h" (s, m, h, d; count 1..10^9, period up to 366 days) or "none".
 * Errors: ERR_INVALID. */
NODISCARD enum err bucket_limit_parse(struct bucket_limit *out, const char *text);

/* Events that batch work leaves for people who wait: a tenth. */
int64_t bucket_reserve(struct bucket_limit limit);

/* Microseconds that one event costs. */
int64_t bucket_step_us(struct bucket_limit limit);

/* How far ahead of now the number may be for one more event that leaves `reserve` of them. */
int64_t bucket_reach_us(struct bucket_limit limit, int64_t reserve);

/* Microseconds until one more event that leaves `reserve` is allowed; 0: now. */
int64_t bucket_wait_us(int64_t tat_us, struct bucket_limit limit, int64_t reserve, int64_t now_us);

/* Events left at this moment; -1 without a limit. */
int64_t bucket_level(int64_t tat_us, struct bucket_limit limit, int64_t now_us);

/* The number after one event, and after one event was taken back. */
int64_t bucket_spend(int64_t tat_us, struct bucket_limit limit, int64_t now_us);
int64_t bucket_refund(int64_t tat_us, struct bucket_limit limit);

/* The number after the CA said "not before `until_us`": one event is allowed then, and the next
 * ones at the usual pace. Never makes the bucket fuller than it was. */
int64_t bucket_park(int64_t tat_us, struct bucket_limit limit, int64_t until_us);

#endif
