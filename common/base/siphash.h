/* siphash.h - SipHash-2-4, the keyed hash behind tags and DNS cookies. Pure; any thread.
 * [Aumasson, Bernstein: SipHash, 2012; RFC 9018 s4.4] */
#ifndef LANYARD_BASE_SIPHASH_H
#define LANYARD_BASE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"

#define SIPHASH_KEY_LEN 16 /* bytes */
#define SIPHASH_LEN 8      /* bytes */

/* The hash of the `len` bytes at `p`: its 8 bytes in the reference order are the value's, lowest
 * first. */
uint64_t siphash(const uint8_t key[SIPHASH_KEY_LEN], const void *p, size_t len);

/* The same as bytes in the reference order. */
void siphash_bytes(uint8_t out[SIPHASH_LEN], const uint8_t key[SIPHASH_KEY_LEN], const void *p,
                   size_t len);

#endif
