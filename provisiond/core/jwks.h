/* jwks.h - the public keys of an OpenID Connect issuer, as its JWK Set has them: RSA of 2048 to
 * 8192 bits, EC P-256 and Ed25519, for signatures. Keys of other kinds or for another use are left
 * out. Pure; any thread. [RFC 7517, RFC 7518 s6, RFC 8037] */
#ifndef LANYARD_PROVISIOND_CORE_JWKS_H
#define LANYARD_PROVISIOND_CORE_JWKS_H

#include <stddef.h>

#include <openssl/evp.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/span.h"

#define JWKS_TEXT_MAX (64 * 1024) /* bytes of a set */
#define JWKS_KEYS_MAX 32          /* keys of use to us; what is more is left out */
#define JWKS_KID_MAX 128          /* bytes of a key id with its NUL */

/* What a token may be signed with; nothing symmetric, never "none". [RFC 7518 s3.1, RFC 8037 s3.1]
 */
enum jwks_alg { JWKS_RS256, JWKS_ES256, JWKS_EDDSA, JWKS_ALG_N };

/* Errors: ERR_INVALID when it is none of the above. */
NODISCARD enum err jwks_alg_parse(enum jwks_alg *out, const char *name);

struct jwks; /* opaque */

/* On success *out is the caller's: jwks_free(). A set without a key of use to us is one.
 * Errors: ERR_INVALID, ERR_LIMIT, ERR_NOMEM, with a sentence that quotes nothing of the text. */
NODISCARD enum err jwks_parse(struct jwks **out, struct span text, struct err_info *info);
void jwks_free(struct jwks *s);

size_t jwks_count(const struct jwks *s);

/* The key `kid` when it is one for `alg`; with `kid` "" the only key for `alg`. NULL when there is
 * none, or when more than one fits. Borrowed. A key is for one algorithm, by its own kind: what a
 * token says cannot make it another one. */
EVP_PKEY *jwks_find(const struct jwks *s, const char *kid, enum jwks_alg alg);

#endif
