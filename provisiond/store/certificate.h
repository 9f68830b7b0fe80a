/* certificate.h - issued certificates in the database. Blocking: store thread or admin command,
 * inside a transaction where it writes. */
#ifndef LANYARD_PROVISIOND_STORE_CERTIFICATE_H
#define LANYARD_PROVISIOND_STORE_CERTIFICATE_H

#include "common/base/buf.h"
#include "provisiond/store/order.h"

struct certificate_row {
    int64_t order_id;
    char serial[64];
    char issuer[64];
    int64_t not_before, not_after, issued_at;
    char ari_id[128];
    char account[ISSUER_URL_MAX]; /* that it was issued under; "" when that is not known */
};

/* Stores the certificate of `order`, once: a second call for the same order changes nothing. */
NODISCARD enum err certificate_insert(struct sql *db, const struct order_row *order,
                                      const struct certificate_row *cert, const char *chain_pem,
                                      struct err_info *info);

/* The certificate of an order; the PEM chain is appended to `chain` (NULL allowed).
 * Errors: ERR_NOTFOUND. */
NODISCARD enum err certificate_get(struct sql *db, int64_t order_id, struct certificate_row *out,
                                   struct buf *chain, struct err_info *info);

/* Appends the PEM chain of the device's newest certificate in `zone`; of any device's where it has
 * none, or `device_id` is "". Errors: ERR_NOTFOUND. */
NODISCARD enum err certificate_newest(struct sql *db, const char *zone, const char *device_id,
                                      struct buf *chain, struct err_info *info);

/* Calls fn for each certificate of the device, newest first, at most `limit`. */
NODISCARD enum err certificate_each(struct sql *db, const char *device_id, int64_t limit,
                                    void (*fn)(void *arg, const struct certificate_row *row),
                                    void *arg, struct err_info *info);

#endif
