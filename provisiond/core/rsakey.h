/* rsakey.h - RSA moduli that are known to fall: what CAs have to refuse [Baseline Requirements
 * s6.1.1.3]. Pure; any thread. */
#ifndef LANYARD_PROVISIOND_CORE_RSAKEY_H
#define LANYARD_PROVISIOND_CORE_RSAKEY_H

#include <stdbool.h>

#include <openssl/bn.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/span.h"

enum rsakey_flaw {
    RSAKEY_SOUND,        /* as far as can be seen */
    RSAKEY_SMALL_FACTOR, /* even, or divisible by a prime below 752 */
    RSAKEY_ROCA,         /* has the fingerprint of the library of CVE-2017-15361 */
    RSAKEY_CLOSE_PRIMES, /* 100 rounds of Fermat's method factor it */
    RSAKEY_UNKNOWN,      /* memory ran short: not judged */
};

NODISCARD enum rsakey_flaw rsakey_check(const BIGNUM *n);

/* Whether a modulus shares a prime with any of many others: their product modulo it is gathered at
 * one multiplication each, and one greatest common divisor tells. Moduli are big-endian bytes. */
struct rsakey_product; /* opaque */

/* For the modulus `n`. The caller calls rsakey_product_free(). Errors: ERR_NOMEM. */
NODISCARD enum err rsakey_product_new(struct rsakey_product **out, struct span n);
void rsakey_product_free(struct rsakey_product *p);

/* One of the others, which must not be `n` itself. False when memory ran short. */
NODISCARD bool rsakey_product_add(struct rsakey_product *p, struct span other);

/* Whether there is a common prime. */
NODISCARD bool rsakey_product_shares(struct rsakey_product *p);

/* After rsakey_product_shares() was true: whether this one has it. */
NODISCARD bool rsakey_product_divides(const struct rsakey_product *p, struct span other);

#endif
