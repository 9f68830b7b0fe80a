/* pairing.h - pairing codes in the database, one live code a device. Blocking: store thread, inside
 * a transaction. */
#ifndef LANYARD_PROVISIOND_STORE_PAIRING_H
#define LANYARD_PROVISIOND_STORE_PAIRING_H

#include "common/pki/devid.h"
#include "provisiond/core/pairing.h"
#include "provisiond/store/sql.h"

/* Takes the place of the device's code before it. Errors: ERR_EXISTS when another device has the
 * same. */
NODISCARD enum err pairing_put(struct sql *db, const char *device,
                               const uint8_t hash[PAIRING_HASH_LEN], int64_t now_s,
                               int64_t expires_at, struct err_info *info);

enum pairing {
    PAIRING_TAKEN,  /* it was a device's code, and is no more */
    PAIRING_WRONG,  /* nobody's, not any more, or of a device that is not active: it was counted */
    PAIRING_CLOSED, /* too many wrong ones today: it was not looked at */
};

/* The units of PAIRING_BUDGET that wrong codes have cost today. */
NODISCARD enum err pairing_spent(struct sql *db, int64_t now_s, int64_t *out,
                                 struct err_info *info);

/* Takes a code: of any number of parallel users of one, one gets it. */
NODISCARD enum err pairing_take(struct sql *db, const uint8_t hash[PAIRING_HASH_LEN], int64_t now_s,
                                enum pairing *out, char device[DEVID_LEN + 1],
                                struct err_info *info);

#endif
