/* token.h - tokens for enrolment and for viewers: "lt_" or "lv_" and 32 characters of base32, 160
 * random bits. Only the SHA-256 is kept; at that strength no slow hash is needed. Pure but for the
 * random bytes passed in. */
#ifndef LANYARD_PROVISIOND_CORE_TOKEN_H
#define LANYARD_PROVISIOND_CORE_TOKEN_H

#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/span.h"

#define TOKEN_RANDOM_LEN 20 /* bytes */
#define TOKEN_TEXT_LEN 35   /* characters */
#define TOKEN_HASH_LEN 32   /* bytes */

enum token_kind { TOKEN_ENROLMENT, TOKEN_VIEWER };

/* The token's text from fresh random bytes; NUL-terminated. */
void token_format(char out[TOKEN_TEXT_LEN + 1], enum token_kind kind,
                  const uint8_t random[TOKEN_RANDOM_LEN]);

/* The hash that is stored and looked up. Surrounding white space is not part of the token.
 * Errors: ERR_INVALID when `text` does not have the form of a token of that kind. */
NODISCARD enum err token_hash(uint8_t out[TOKEN_HASH_LEN], enum token_kind kind, struct span text);

#endif
