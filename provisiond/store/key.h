/* key.h - public keys the service has seen, by the SHA-256 of their SubjectPublicKeyInfo: which
 * device each belongs to, and which may not be used any more. Blocking: store thread or admin
 * command, inside a transaction where it writes. */
#ifndef LANYARD_PROVISIOND_STORE_KEY_H
#define LANYARD_PROVISIOND_STORE_KEY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/pki/devid.h"
#include "provisiond/store/sql.h"

/* The device that used the key first, for a certificate or as its identity; "" when it is new. */
NODISCARD enum err key_owner(struct sql *db, const uint8_t spki[SPKI_HASH_LEN],
                             char owner[DEVID_LEN + 1], struct err_info *info);

/* Notes that `device_id` uses the key for a certificate. *reused: it was another device's, both are
 * flagged, and nothing is changed of whose it is. */
NODISCARD enum err key_claim(struct sql *db, const uint8_t spki[SPKI_HASH_LEN],
                             const char *device_id, int64_t now_s, bool *reused,
                             struct err_info *info);

/* As key_claim() for the key of a factory certificate. A device that was forgotten leaves it to the
 * next. */
NODISCARD enum err key_claim_factory(struct sql *db, const uint8_t spki[SPKI_HASH_LEN],
                                     const char *device_id, int64_t now_s, bool *reused,
                                     struct err_info *info);

/* Whether the key was reported as compromised. */
NODISCARD enum err key_is_blocked(struct sql *db, const uint8_t spki[SPKI_HASH_LEN], bool *blocked,
                                  struct err_info *info);

/* No certificate for the key from now on, whoever asks. */
NODISCARD enum err key_block(struct sql *db, const uint8_t spki[SPKI_HASH_LEN],
                             const char *device_id, int64_t now_s, struct err_info *info);

#endif
