/* cert.h - X.509 certificates in PEM: read a chain, make the self-signed identity certificate, and
 * the facts a program needs of a leaf. Pure; any thread. */
#ifndef LANYARD_PKI_CERT_H
#define LANYARD_PKI_CERT_H

#include <stdint.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/span.h"

#define CERT_CHAIN_MAX 8         /* certificates in a chain that we accept */
#define CERT_PEM_MAX (64 * 1024) /* bytes of PEM that we accept */

/* Parses 1..CERT_CHAIN_MAX PEM certificates, leaf first. On success *out is the caller's:
 * sk_X509_pop_free(*out, X509_free). Errors: ERR_INVALID, ERR_LIMIT, ERR_NOMEM. */
NODISCARD enum err cert_chain_parse(STACK_OF(X509) * *out, struct span pem, struct err_info *info);

/* Appends the PEM of one certificate. */
NODISCARD enum err cert_to_pem(X509 *cert, struct buf *out);

/* notBefore and notAfter in Unix seconds. Errors: ERR_INVALID. */
NODISCARD enum err cert_validity(const X509 *cert, int64_t *not_before_s, int64_t *not_after_s);

/* The serial number as lower-case hexadecimal and a NUL. Errors: ERR_LIMIT when cap is too small
 * (serials have at most 20 bytes: 41 characters are enough). */
NODISCARD enum err cert_serial_hex(const X509 *cert, char *out, size_t cap);

/* The self-signed certificate that carries an identity key through TLS: subject CN=<id>, ten years
 * back-dated by a day so that a device with a slow clock can use it at once. The caller frees *out.
 */
NODISCARD enum err cert_new_identity(X509 **out, EVP_PKEY *key, int64_t now_s);

#endif
