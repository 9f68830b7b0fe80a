/* viewer.h - who may see a device from a browser: the holder of a viewer token, for the one device
 * it was paired with, or an account at the vendor, for those that it adopted. Both are known by a
 * SHA-256 only. Blocking: store thread or admin command, inside a transaction where it writes. */
#ifndef LANYARD_PROVISIOND_STORE_VIEWER_H
#define LANYARD_PROVISIOND_STORE_VIEWER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/pki/devid.h"
#include "provisiond/core/token.h"
#include "provisiond/store/sql.h"

#define VIEWER_TOKENS_MAX 64   /* of one device; one more and the longest unused one ends */
#define VIEWER_DEVICES_MAX 256 /* of one account */
#define VIEWER_UNUSED_S                                                                            \
    ((int64_t)180 * 86400) /* a token that was not used for so long has ended                      \
                            */

enum viewer_kind { VIEWER_TOKEN, VIEWER_ACCOUNT };

struct viewer {
    enum viewer_kind kind;
    uint8_t hash[TOKEN_HASH_LEN]; /* of the token; of issuer and subject */
};

/* Lets it see the device; again is fine. Errors: ERR_LIMIT for an account with too many devices. */
NODISCARD enum err viewer_add(struct sql *db, const struct viewer *v, const char *device,
                              int64_t now_s, struct err_info *info);

/* The devices that it may see and that are active, at most VIEWER_DEVICES_MAX; of a token one or
 * none. Notes that it was here, at most once a day. */
NODISCARD enum err viewer_devices(struct sql *db, const struct viewer *v, int64_t now_s,
                                  char (*out)[DEVID_LEN + 1], size_t *n, struct err_info *info);

/* Takes that right from one viewer; or from all of the device, with the code that it shows. *n
 * receives how many had it. */
NODISCARD enum err viewer_remove(struct sql *db, const struct viewer *v, const char *device,
                                 int64_t *n, struct err_info *info);
NODISCARD enum err viewer_remove_all(struct sql *db, const char *device, int64_t *n,
                                     struct err_info *info);

/* How many tokens and accounts may see the device. */
NODISCARD enum err viewer_count(struct sql *db, const char *device, int64_t now_s,
                                int64_t *n_tokens, int64_t *n_accounts, struct err_info *info);

#endif
