/* csr.h - the certificate request of a device. Pure; any thread. */
#ifndef LANYARD_AGENT_CORE_CSR_H
#define LANYARD_AGENT_CORE_CSR_H

#include <openssl/evp.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/span.h"

#define CSR_PEM_MAX 8192 /* bytes; ours have about 500 with P-256 and 1,000 with RSA */

/* Appends a PEM PKCS#10 request signed by `key` with SHA-256: empty subject, one subjectAltName
 * DNS:`name`, nothing else. Errors: ERR_CRYPTO, ERR_NOMEM. */
NODISCARD enum err csr_new(struct buf *out, EVP_PKEY *key, const char *name);

/* Checks that the PEM request belongs to `key` and asks for `name` alone. Errors: ERR_INVALID. */
NODISCARD enum err csr_check(struct span pem, EVP_PKEY *key, const char *name);

#endif
