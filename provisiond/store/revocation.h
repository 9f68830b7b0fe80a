/* revocation.h - certificates that are to be revoked, and what became of it, in the database.
 * Blocking: store thread or admin command, inside a transaction where it writes. */
#ifndef LANYARD_PROVISIOND_STORE_REVOCATION_H
#define LANYARD_PROVISIOND_STORE_REVOCATION_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/pki/devid.h"
#include "provisiond/issuer.h"
#include "provisiond/store/sql.h"

/* The codes of [RFC 5280 s5.3.1] that ACME CAs take from a subscriber. */
enum revocation_reason {
    REVOCATION_UNSPECIFIED = 0,
    REVOCATION_KEY_COMPROMISE = 1,
    REVOCATION_SUPERSEDED = 4,
    REVOCATION_CESSATION = 5,
};

/* The RFC's word, such as "keyCompromise"; "unspecified" for a code that is none of the above. */
const char *revocation_reason_name(enum revocation_reason r);
NODISCARD enum err revocation_reason_parse(enum revocation_reason *out, const char *text);

/* Asks for the revocation of the device's certificates that have not ended; with `serial` only of
 * that one. After a key compromise their keys are blocked, and orders that wait with such a key are
 * canceled. *n receives how many certificates it is about, those asked for before too.
 * Errors: ERR_NOTFOUND when `serial` is no such certificate of this device. */
NODISCARD enum err revocation_request(struct sql *db, const char *device_id, const char *serial,
                                      enum revocation_reason reason, int64_t now_s, int64_t *n,
                                      struct err_info *info);

/* Whether the certificate of an order is to be revoked, or was. */
NODISCARD enum err revocation_of_order(struct sql *db, int64_t order_id, bool *revoked,
                                       enum revocation_reason *reason, struct err_info *info);

/* For the operator. */
struct revocation_state {
    char serial[64];
    enum revocation_reason reason;
    char state[16]; /* "pending", "done", "failed" */
    char problem[256];
};

/* Calls fn for each of the device's, newest first, at most `limit`. */
NODISCARD enum err revocation_each(struct sql *db, const char *device_id, int64_t limit,
                                   void (*fn)(void *arg, const struct revocation_state *r),
                                   void *arg, struct err_info *info);

struct revocation_row {
    int64_t order_id;
    enum revocation_reason reason;
    int64_t failures;
    char device_id[DEVID_LEN + 1];
    char zone[256];
    char issuer[64];
    char account[ISSUER_URL_MAX]; /* that it was issued under; "" when that is not known */
};

/* Takes the one that is due first, until `lease_until`; the PEM chain becomes `chain`.
 * Errors: ERR_NOTFOUND when none is due. */
NODISCARD enum err revocation_claim(struct sql *db, int64_t now_s, int64_t lease_until,
                                    struct revocation_row *out, struct buf *chain,
                                    struct err_info *info);

/* The CA has done it, or will never: `problem` "" or why. */
NODISCARD enum err revocation_end(struct sql *db, int64_t order_id, const char *problem,
                                  int64_t now_s, struct err_info *info);

/* It did not work out now: again at `due_at`. */
NODISCARD enum err revocation_retry(struct sql *db, int64_t order_id, const char *problem,
                                    int64_t due_at, struct err_info *info);

/* Calls fn for each certificate of `issuer` that was revoked and has not ended, by order number. */
NODISCARD enum err revocation_listed(struct sql *db, const char *issuer, int64_t now_s,
                                     void (*fn)(void *arg, const char *serial, int reason,
                                                int64_t at),
                                     void *arg, struct err_info *info);

#endif
