/* challenge.h - the challenge table that provisiond writes and dnsd reads: the live values of
 * _acme-challenge.<id>.<zone>. The store is the only truth: nothing is cached here.
 * Blocking: call it from a store or reader thread, never from a loop. One thread at a time per
 * handle. */
#ifndef LANYARD_STORE_CHALLENGE_H
#define LANYARD_STORE_CHALLENGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"

#define CHALLENGE_VALUES_MAX 8 /* live values of one name: more would not fit 512 bytes of DNS */
#define CHALLENGE_VALUE_LEN 43 /* characters: base64url of a SHA-256 [RFC 8555 s8.4] */

struct challenge_value {
    char text[CHALLENGE_VALUE_LEN + 1]; /* NUL-terminated */
};

struct challenge_store; /* opaque: one connection */

typedef void challenge_order_fn(void *arg, int64_t order_id, int64_t until_s);

/* Whether `url` is one that challenge_store_open() takes; nothing is opened. *has_password tells
 * whether it holds a secret. Errors: ERR_CONFIG; `info` never quotes a password. */
NODISCARD enum err challenge_url_check(const char *url, bool *has_password, struct err_info *info);

/* Writes what may be shown of `url`: all but user, password and options. */
void challenge_url_show(const char *url, char *out, size_t cap);

/* Opens "sqlite:PATH", or "postgresql://..." as libpq reads it (several hosts,
 * target_session_attrs and the rest included), which can only be read. A lost connection is made
 * again by a later read; connecting and reading have time limits, and so does trying again.
 * With `writer` the file and the table are made where missing (mode 0640, so
 * that a dnsd of the same group can read); without, the connection can only read, and the file may
 * still be missing: reads are then ERR_UNAVAILABLE until it is there.
 * Errors: ERR_CONFIG for another scheme, or a writer of PostgreSQL (provisiond has its own);
 * ERR_IO, ERR_NOMEM. */
NODISCARD enum err challenge_store_open(struct challenge_store **out, const char *url, bool writer,
                                        struct err_info *info);

void challenge_store_free(struct challenge_store *s);

/* Reads the values of device `id` in `zone` (lower case, no final dot) that live at `now_s` (Unix
 * seconds), oldest first; *n is 0..CHALLENGE_VALUES_MAX. A store that cannot be read is
 * ERR_UNAVAILABLE, never "none". */
NODISCARD enum err challenge_get(struct challenge_store *s, const char *zone, const char *id,
                                 int64_t now_s, struct challenge_value values[CHALLENGE_VALUES_MAX],
                                 size_t *n, struct err_info *info);

/* Adds a value for order number `order_id`, live until `expires_at` (Unix seconds). Idempotent.
 * Errors: ERR_INVALID for a value that is not 43 characters of base64url, ERR_LIMIT when
 * CHALLENGE_VALUES_MAX others live, ERR_UNAVAILABLE. Durable when it returns. */
NODISCARD enum err challenge_put(struct challenge_store *s, const char *zone, const char *id,
                                 int64_t order_id, const char *value, int64_t expires_at,
                                 int64_t now_s, struct err_info *info);

/* Removes the values of order `order_id` that end at `until_s` or before (INT64_MAX: all), and
 * whatever expired before `now_s`. Idempotent. */
NODISCARD enum err challenge_remove(struct challenge_store *s, int64_t order_id, int64_t until_s,
                                    int64_t now_s, struct err_info *info);

/* Calls `fn` for each order that has values, with the moment when the last of them ends, so that
 * orphans can be found after a crash. */
NODISCARD enum err challenge_orders(struct challenge_store *s, challenge_order_fn *fn, void *arg,
                                    struct err_info *info);

#endif
