/* jws.h - the signed requests of ACME: flattened JSON, ES256 by the account key, by whatever a
 * certificate's own key can (ES256, ES384, RS256), HS256 for external account binding. Pure; any
 * thread. [RFC 7515, RFC 7518, RFC 7638, RFC 8555 s6.2] */
#ifndef LANYARD_PROVISIOND_ACME_JWS_H
#define LANYARD_PROVISIOND_ACME_JWS_H

#include <openssl/evp.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/span.h"

#define JWS_THUMBPRINT_LEN 43 /* characters of base64url of a SHA-256 */
#define JWS_TEXT_MAX 1024     /* bytes of a URL, nonce or key id in a header */

struct jws_header {
    const char *url;
    const char *nonce; /* NULL: none, as in the inner one of a key change */
    const char *kid;   /* the account URL; NULL: the public key itself is sent (newAccount) */
};

/* Appends the JWK of the public half of `key` (EC P-256 or P-384, RSA) in the canonical form that
 * its thumbprint is taken over. Errors: ERR_CONFIG for another kind of key, buf_error(). */
NODISCARD enum err jws_jwk(struct buf *out, EVP_PKEY *key);

/* The thumbprint of `key` as text and a NUL. Errors: as jws_jwk(). [RFC 7638 s3] */
NODISCARD enum err jws_thumbprint(char out[JWS_THUMBPRINT_LEN + 1], EVP_PKEY *key);

/* The TXT value that proves `token`: base64url(SHA-256(token "." thumbprint)) and a NUL.
 * [RFC 8555 s8.1, s8.4] */
void jws_txt_value(char out[JWS_THUMBPRINT_LEN + 1], const char *token, const char *thumbprint);

/* Appends the request body for `payload` (empty: POST-as-GET) signed by `key`.
 * Errors: ERR_INVALID when a header text is too long or would need escaping in JSON, ERR_CONFIG,
 * ERR_CRYPTO, buf_error(). */
NODISCARD enum err jws_sign(struct buf *out, EVP_PKEY *key, const struct jws_header *header,
                            struct span payload);

/* Appends the external account binding of `account_key` to the CA's key `kid`, `mac_key`.
 * Errors: as jws_sign(). [RFC 8555 s7.3.4] */
NODISCARD enum err jws_bind(struct buf *out, EVP_PKEY *account_key, const char *new_account_url,
                            const char *kid, struct span mac_key);

/* The parts of the two above that fixed vectors can test: the signature over the octets
 * base64url(protected) "." base64url(payload), as the whole JWS. */
NODISCARD enum err jws_by_key(struct buf *out, EVP_PKEY *key, struct span protected,
                              struct span payload);
NODISCARD enum err jws_hs256(struct buf *out, struct span mac_key, struct span protected,
                             struct span payload);

#endif
