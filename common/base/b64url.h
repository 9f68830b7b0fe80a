/* b64url.h - base64url without padding, as JOSE uses it. Pure. [RFC 4648 s5, RFC 7515 s2] */
#ifndef LANYARD_BASE_B64URL_H
#define LANYARD_BASE_B64URL_H

#include <stddef.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/span.h"

/* Characters needed for `len` bytes, without the NUL. */
#define B64URL_LEN(len) (((len)*8 + 5) / 6)

/* Writes `in` and a NUL into `out`, which has room for B64URL_LEN(in.len) + 1 characters. */
void b64url_encode(struct span in, char *out);

/* Appends the encoding of `in` to `b`. Allocation as buf_add(). */
void b64url_append(struct buf *b, struct span in);

/* Decodes `text` into `out`; *len receives the number of bytes.
 * Errors: ERR_INVALID for a foreign character (padding too), an impossible length or non-zero
 * trailing bits; ERR_LIMIT when it does not fit `cap`. */
NODISCARD enum err b64url_decode(struct span text, uint8_t *out, size_t cap, size_t *len);

#endif
