/* csr.h - the policy for certificate requests: which names, keys and signatures may go to a CA.
 * Pure; any thread. The input comes from a device and is not trusted. */
#ifndef LANYARD_PROVISIOND_CORE_CSR_H
#define LANYARD_PROVISIOND_CORE_CSR_H

#include <stdbool.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/span.h"
#include "common/pki/devid.h"

#define CSR_MAX (16 * 1024)   /* bytes of PEM or DER that are looked at */
#define CSR_RSA_BYTES_MAX 512 /* bytes of a modulus */

struct csr_policy {
    const char *name_required;           /* "*.<id>.<zone>", lower case */
    const char *name_optional;           /* "<id>.<zone>" where it is allowed, else NULL */
    const uint8_t *identity_spki_sha256; /* SPKI_HASH_LEN bytes: the key must be another one; NULL:
                                            not checked */
};

struct csr_facts {
    struct buf der; /* the request as DER; the caller calls buf_clear() */
    uint8_t der_sha256[32];
    uint8_t spki_sha256[SPKI_HASH_LEN];
    size_t rsa_modulus_len; /* 0: no RSA key */
    uint8_t rsa_modulus[CSR_RSA_BYTES_MAX];
    bool has_optional; /* the optional name is in the request as well */
};

/* Checks a PKCS#10 request, PEM or DER, against `policy`. Names count only as dNSName in the
 * subjectAltName; the common name may be absent, or one of the allowed names. Keys: P-256, P-384,
 * RSA of 2048 to 4096 bits with e = 65537; signature by a SHA-2 digest. Other extensions are
 * ignored, as CAs ignore them, but for Must-Staple, which CAs refuse.
 * On an error *problem is the short type for the problem document, a literal: "csr-malformed",
 * "csr-too-large", "csr-no-name", "csr-foreign-name", "csr-extra-name", "csr-weak-key",
 * "csr-bad-signature", "csr-must-staple" or "csr-identity-key"; NULL with ERR_NOMEM.
 * Errors: ERR_INVALID (malformed), ERR_LIMIT (too large), ERR_RANGE (names, key, extension),
 * ERR_CRYPTO (signature), ERR_NOMEM. */
NODISCARD enum err csr_check(const struct csr_policy *policy, struct span pem_or_der,
                             struct csr_facts *out, const char **problem, struct err_info *info);

#endif
