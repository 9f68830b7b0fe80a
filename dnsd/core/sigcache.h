/* sigcache.h - signatures that one thread has made, so that what is asked often is signed once.
 * The key is the digest that was signed, which covers the records, their owner and TTL, the times
 * and the signing key: an entry can only ever be used for exactly what it signs, whoever asks and
 * how. Fixed size, no allocation after sigcache_new(). One thread. */
#ifndef LANYARD_DNSD_CORE_SIGCACHE_H
#define LANYARD_DNSD_CORE_SIGCACHE_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"

#define SIGCACHE_DIGEST_LEN 32 /* SHA-256 */
#define SIGCACHE_SIG_LEN 64    /* ECDSA P-256 */

struct sigcache; /* opaque; 104 bytes a slot, touched when used */

/* A cache of `n_slots` entries, a power of two from 8 to 2^20; otherwise ERR_RANGE. ERR_NOMEM. The
 * caller calls sigcache_free(). */
NODISCARD enum err sigcache_new(struct sigcache **out, size_t n_slots);
void sigcache_free(struct sigcache *c);

/* The signature of `digest`, borrowed until the next put; NULL when it is not there. */
const uint8_t *sigcache_get(struct sigcache *c, const uint8_t digest[SIGCACHE_DIGEST_LEN]);

/* Keeps a signature, in the place of the one of its bucket that was used longest ago. */
void sigcache_put(struct sigcache *c, const uint8_t digest[SIGCACHE_DIGEST_LEN],
                  const uint8_t sig[SIGCACHE_SIG_LEN]);

#endif
