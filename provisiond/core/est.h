/* est.h - the forms of Enrollment over Secure Transport: base64 bodies, certs-only PKCS#7, CSR
 * attributes, the password of HTTP Basic. [RFC 7030, RFC 8951] Pure; any thread. */
#ifndef LANYARD_PROVISIOND_CORE_EST_H
#define LANYARD_PROVISIOND_CORE_EST_H

#include <openssl/x509.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/span.h"

/* Appends the bytes of a base64 body, with or without line ends, to `out`; whatever a
 * Content-Transfer-Encoding header says [RFC 8951 s3.1]. Errors: ERR_INVALID, ERR_LIMIT, ERR_NOMEM.
 */
NODISCARD enum err est_decode(struct span body, struct buf *out);

/* Appends the certificates as a certs-only PKCS#7, DER in base64 [RFC 7030 s4.1.3].
 * Errors: ERR_NOMEM, ERR_LIMIT. */
NODISCARD enum err est_certs_only(STACK_OF(X509) * certs, struct buf *out);

/* Appends what a request is to have: an EC key on P-256, ECDSA with SHA-256, and, unless `name` is
 * NULL, a subjectAltName with that DNS name. [RFC 7030 s4.5.2, RFC 9908 s3.2]
 * Errors: ERR_NOMEM, ERR_LIMIT. */
NODISCARD enum err est_csr_attributes(const char *name, struct buf *out);

/* Appends the password of an Authorization header value "Basic ...". Wipe it afterwards.
 * Errors: ERR_INVALID, ERR_LIMIT. [RFC 7617] */
NODISCARD enum err est_basic_password(const char *header, struct buf *out);

#endif
