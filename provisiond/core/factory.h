/* factory.h - admission by what a device was given in its factory: a certificate of the vendor's
 * own CA. Either it is over the identity key itself, or its own key signs the identity key and the
 * zone: then nobody else can use what was sent, and sending it again changes nothing. Pure; any
 * thread. */
#ifndef LANYARD_PROVISIOND_CORE_FACTORY_H
#define LANYARD_PROVISIOND_CORE_FACTORY_H

#include <stdint.h>

#include <openssl/x509.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/span.h"
#include "common/pki/devid.h"

#define FACTORY_SERIAL_MAX 41 /* serial number as hexadecimal, and a NUL */
#define FACTORY_PROOF_MAX 512 /* bytes of a signature: RSA-4096 */

struct factory; /* the CAs that a zone trusts; opaque */

/* `pem`: one or more certificates of CAs, roots or not. The caller calls factory_free().
 * Errors: ERR_INVALID, ERR_NOMEM. */
NODISCARD enum err factory_new(struct factory **out, struct span pem, struct err_info *info);
void factory_free(struct factory *f);

struct factory_claim {
    STACK_OF(X509) * chain;              /* the factory certificate first */
    EVP_PKEY *identity;                  /* the key that the connection proved */
    const uint8_t *identity_spki_sha256; /* SPKI_HASH_LEN bytes */
    const char *zone;
    struct span proof; /* by the factory key; empty when the certificate is over the identity key */
    int64_t now_s;
};

/* Checks the chain up to a CA of `f`, its dates, and the proof: a signature with SHA-256 (with
 * Ed25519: of the text itself) over the text
 *     lanyard-factory-v1 ZONE HEX
 * without end of line, where HEX are the 64 lower-case digits of the SHA-256 over the identity
 * key's SubjectPublicKeyInfo. Gives the hash of the factory key and the certificate's serial
 * number. Errors: ERR_DENIED with a sentence, ERR_NOMEM. */
NODISCARD enum err factory_check(const struct factory *f, const struct factory_claim *claim,
                                 uint8_t spki_sha256[SPKI_HASH_LEN],
                                 char serial[FACTORY_SERIAL_MAX], struct err_info *info);

#endif
