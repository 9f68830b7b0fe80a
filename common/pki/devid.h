/* devid.h - the device id: base32 of the first 20 bytes of SHA-256 over the SubjectPublicKeyInfo of
 * the identity key. Whoever proves the key owns the id. Pure; any thread. */
#ifndef LANYARD_PKI_DEVID_H
#define LANYARD_PKI_DEVID_H

#include <stdbool.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/span.h"

#define DEVID_LEN 32 /* characters of [a-z2-7] */

struct devid {
    char text[DEVID_LEN + 1]; /* NUL-terminated */
};

/* The id of `key` (only its public half is looked at). Errors: ERR_CRYPTO, ERR_NOMEM. */
NODISCARD enum err devid_from_key(struct devid *out, EVP_PKEY *key);

/* Whether `text` is 32 characters of [a-z2-7], lower case. */
bool devid_is_valid(struct span text);

#define SPKI_HASH_LEN 32 /* bytes */

/* SHA-256 over the DER SubjectPublicKeyInfo of `key`, all 32 bytes of it. */
NODISCARD enum err devid_spki_hash(uint8_t out[SPKI_HASH_LEN], EVP_PKEY *key);

/* The same of a key as a certificate or a request has it, which OpenSSL could read: without
 * reckoning when it is P-256 in the usual form. Errors: ERR_CRYPTO when it could not be read. */
NODISCARD enum err devid_pubkey_hash(uint8_t out[SPKI_HASH_LEN], const X509_PUBKEY *pubkey);

/* The id of the key with that hash. */
void devid_from_hash(struct devid *out, const uint8_t hash[SPKI_HASH_LEN]);

#endif
