/* factoryproof.h - by what the factory gave it a device is admitted: the factory key signs the zone
 * and the identity key. Pure; any thread. */
#ifndef LANYARD_AGENT_CORE_FACTORYPROOF_H
#define LANYARD_AGENT_CORE_FACTORYPROOF_H

#include <openssl/evp.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"

/* Appends, in base64url, the signature with SHA-256 (Ed25519: of the text itself) by `factory_key`
 * over "lanyard-factory-v1 ZONE HEX", where HEX are the 64 digits of the SHA-256 over the
 * SubjectPublicKeyInfo of `identity`. Errors: ERR_CRYPTO, ERR_NOMEM, ERR_LIMIT. */
NODISCARD enum err factoryproof_make(struct buf *out, EVP_PKEY *factory_key, EVP_PKEY *identity,
                                     const char *zone);

#endif
