/* jwt.h - tokens of an OpenID Connect issuer: read, compared with what is expected, and their
 * signature checked, in the compact form. RS256, ES256 and EdDSA; never "none", never a symmetric
 * algorithm, no "crit". Pure; any thread. [RFC 7519, RFC 7515 s5.2, RFC 8725] */
#ifndef LANYARD_PROVISIOND_CORE_JWT_H
#define LANYARD_PROVISIOND_CORE_JWT_H

#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/span.h"
#include "provisiond/core/jwks.h"

#define JWT_TEXT_MAX 8192 /* bytes of a token */
#define JWT_URL_MAX 256   /* bytes of issuer, subject or audience with the NUL */
#define JWT_AUD_MAX 8     /* audiences of one token */
#define JWT_LEEWAY_S 60   /* that clocks may differ */

/* What a token says of itself. Nothing of it is true before jwt_verify() said so. */
struct jwt {
    enum jwks_alg alg;
    char kid[JWKS_KID_MAX]; /* "": none */
    char iss[JWT_URL_MAX], sub[JWT_URL_MAX];
    size_t n_aud;
    char aud[JWT_AUD_MAX][JWT_URL_MAX];
    int64_t exp, nbf, iat; /* Unix seconds; nbf and iat 0: absent */
};

/* Reads `token`. Errors: ERR_INVALID, ERR_LIMIT, ERR_RANGE for an algorithm that is not taken, with
 * a sentence that quotes nothing of the token. */
NODISCARD enum err jwt_parse(struct jwt *out, struct span token, struct err_info *info);

/* Whether it is from `issuer`, for `audience`, and valid at `now_s`.
 * Errors: ERR_DENIED with a sentence. */
NODISCARD enum err jwt_check(const struct jwt *t, const char *issuer, const char *audience,
                             int64_t now_s, struct err_info *info);

/* Checks the signature of the `token` that `t` was read from. Errors: ERR_NOTFOUND when `keys` has
 * no key for it (the issuer may have a new one), ERR_CRYPTO when the signature does not hold. */
NODISCARD enum err jwt_verify(const struct jwt *t, struct span token, const struct jwks *keys);

#endif
