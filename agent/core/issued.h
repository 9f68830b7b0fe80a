/* issued.h - whether a chain that the service handed over may take the place of the present one.
 * The service is trusted to issue, not to be right. Pure; any thread. */
#ifndef LANYARD_AGENT_CORE_ISSUED_H
#define LANYARD_AGENT_CORE_ISSUED_H

#include <stdbool.h>
#include <stdint.h>

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "common/base/attr.h"
#include "common/base/err.h"

/* No honest clock shows less (2026-01-01): a device that thinks it is earlier has lost its time,
 * and what its clock says about dates is not held against a certificate. */
#define ISSUED_CLOCK_FLOOR_S INT64_C(1767225600)

/* Checks that `chain` (leaf first, at least one) fits: the leaf's key is `key`'s, its only name is
 * `name` (any case), it is for TLS servers and no CA, it is not expired at `now_s`, and every
 * certificate is signed by the next. The last one's issuer is not checked: roots are the browser's
 * choice. A start in the future is taken: it is our clock that is slow.
 * Errors, with a sentence: ERR_RANGE when nothing but its end is wrong, which may be our clock's
 * fault; ERR_CRYPTO for everything else. */
NODISCARD enum err issued_check(STACK_OF(X509) * chain, EVP_PKEY *key, const char *name,
                                int64_t now_s, struct err_info *info);

/* Whether `names` is the DNS name `name` and nothing else. */
bool issued_names_match(const GENERAL_NAMES *names, const char *name);

#endif
