/* device.h - devices in the database. Blocking: store thread or admin command, inside a transaction
 * where it writes. */
#ifndef LANYARD_PROVISIOND_STORE_DEVICE_H
#define LANYARD_PROVISIOND_STORE_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/pki/devid.h"
#include "provisiond/core/token.h"
#include "provisiond/store/sql.h"

enum device_state { DEVICE_ACTIVE, DEVICE_SUSPENDED, DEVICE_FORGOTTEN };

struct device_row {
    char id[DEVID_LEN + 1];
    char zone[256];
    enum device_state state;
    int64_t token_id; /* 0: admitted without one */
    int64_t admitted_at, seen_at;
    char flag[64]; /* "" or why an operator should look */
};

const char *device_state_name(enum device_state s);

/* Errors: ERR_NOTFOUND. */
NODISCARD enum err device_get(struct sql *db, const char *id, struct device_row *out,
                              struct err_info *info);

/* Admits `id` to `zone`, or finds it admitted: *fresh tells which. A device that was forgotten is
 * admitted anew. With `token_hash` a token is used up, only when fresh.
 * Errors: ERR_DENIED (token), ERR_EXISTS (admitted to another zone), ERR_ILLEGAL (suspended). */
NODISCARD enum err device_admit(struct sql *db, const char *id, const char *zone,
                                const uint8_t token_hash[TOKEN_HASH_LEN], int64_t now_s,
                                bool *fresh, struct err_info *info);

/* Notes that the device was here, at most once an hour: a write for every poll would be for
 * nothing. */
NODISCARD enum err device_touch(struct sql *db, const char *id, int64_t now_s,
                                struct err_info *info);

/* Errors: ERR_NOTFOUND. Orders of a device that is no longer active are canceled. */
NODISCARD enum err device_set_state(struct sql *db, const char *id, enum device_state s,
                                    int64_t now_s, struct err_info *info);

/* Marks the device for the operator's attention. */
NODISCARD enum err device_flag(struct sql *db, const char *id, const char *why,
                               struct err_info *info);

/* Calls fn for each device, newest first, at most `limit`. */
NODISCARD enum err device_each(struct sql *db, int64_t limit,
                               void (*fn)(void *arg, const struct device_row *row), void *arg,
                               struct err_info *info);

#endif
