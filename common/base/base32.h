/* base32.h - RFC 4648 base32 in lower case without padding, as device ids and tags use it. Pure. */
#ifndef LANYARD_BASE_BASE32_H
#define LANYARD_BASE_BASE32_H

#include <stddef.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/span.h"

/* Characters needed for `len` bytes, without the NUL. */
#define BASE32_LEN(len) (((len)*8 + 4) / 5)

/* Writes `in` and a NUL into `out`, which has room for BASE32_LEN(in.len) + 1 characters. */
void base32_encode(struct span in, char *out);

/* Decodes `text` (either case; no padding) into `out`. *len receives the number of bytes.
 * Errors: ERR_INVALID for a character outside the alphabet, an impossible length or non-zero
 * trailing bits; ERR_LIMIT when it does not fit `cap`. [RFC 4648 s6] */
NODISCARD enum err base32_decode(struct span text, uint8_t *out, size_t cap, size_t *len);

/* Value 0..31 of one base32 character of either case, or -1. */
int base32_value(uint8_t c);

#endif
