/* rsakey.h - RSA moduli that are known to fall: what CAs have to refuse [Baseline Requirements
 * s6.1.1.3]. Pure; any thread. */
#ifndef LANYARD_PROVISIOND_CORE_RSAKEY_H
#define LANYARD_PROVISIOND_CORE_RSAKEY_H

#include <openssl/bn.h>

#include "common/base/attr.h"

enum rsakey_flaw {
    RSAKEY_SOUND,        /* as far as can be seen */
    RSAKEY_SMALL_FACTOR, /* even, or divisible by a prime below 752 */
    RSAKEY_ROCA,         /* has the fingerprint of the library of CVE-2017-15361 */
    RSAKEY_CLOSE_PRIMES, /* 100 rounds of Fermat's method factor it */
    RSAKEY_UNKNOWN,      /* memory ran short: not judged */
};

NODISCARD enum rsakey_flaw rsakey_check(const BIGNUM *n);

#endif
