/* hello.h - "I am this device": the answer of GET /v1/hello. Whoever sent a nonce can check that
 * the answer comes from the holder of the identity key, and not from a stranger that has the same
 * private address in another network:
 *     id         the device id: base32 of the first 20 bytes of SHA-256 of `key`
 *     name       the host's name
 *     time       Unix seconds
 *     nonce      as sent
 *     key        base64url of the DER SubjectPublicKeyInfo of the identity key (EC P-256)
 *     signature  base64url of r and s, 32 bytes each: ECDSA with SHA-256 over
 *                "lanyard-hello-v1\n" id "\n" nonce "\n" time "\n"
 * The last three are there when a nonce was sent. One thread. */
#ifndef LANYARD_AGENT_HELLO_H
#define LANYARD_AGENT_HELLO_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/identity.h"
#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"

#define HELLO_NONCE_MIN 16 /* characters of base64url: 96 bits */
#define HELLO_NONCE_MAX 86 /* 64 bytes */

/* Whether `nonce` is one we sign: of that length and alphabet. */
bool hello_is_nonce(const char *nonce);

/* Appends the JSON for `id`, called `name`. `nonce` "" signs nothing. Errors: ERR_CRYPTO,
 * ERR_NOMEM. */
NODISCARD enum err hello_make(struct buf *out, const struct identity *id, const char *name,
                              const char *nonce, int64_t now_s);

#endif
