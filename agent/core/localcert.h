/* localcert.h - the certificate for when the public one cannot be used: self-signed, for the names
 * that a device has without the Internet. Within what Apple's systems accept: EC P-256, SHA-256,
 * serverAuth, names in the SAN, at most 825 days. [support.apple.com/103769] Pure; any thread. */
#ifndef LANYARD_AGENT_CORE_LOCALCERT_H
#define LANYARD_AGENT_CORE_LOCALCERT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/dns/iplabel.h"

#define LOCALCERT_ADDRESSES_MAX 66 /* of the interfaces, and both loopback addresses */
#define LOCALCERT_PIN_LEN 44       /* characters of base64 of SHA-256 */

struct localcert_names {
    char host[64]; /* for "<host>.local"; "" for none */
    size_t n_addresses;
    struct ip addresses[LOCALCERT_ADDRESSES_MAX];
};

/* A certificate for "<host>.local", "localhost" and the addresses, valid for 824 days from a day
 * before `now_s` (Unix seconds; a clock that cannot be right counts as the earliest one that can).
 * The caller frees *out. Errors: ERR_CRYPTO, ERR_NOMEM. */
NODISCARD enum err localcert_new(X509 **out, EVP_PKEY *key, const struct localcert_names *names,
                                 int64_t now_s);

/* Whether `cert` can go on: it is `key`'s, has all the names (it may have more), and is valid for a
 * month more at least. With a clock that cannot be right its dates do not count. */
bool localcert_suits(const X509 *cert, EVP_PKEY *key, const struct localcert_names *names,
                     int64_t now_s);

/* Base64 of SHA-256 of the key's SubjectPublicKeyInfo [RFC 7469 s2.4], with a NUL. Stays the same
 * when the certificate is made anew. Errors: ERR_CRYPTO. */
NODISCARD enum err localcert_pin(EVP_PKEY *key, char out[LOCALCERT_PIN_LEN + 1]);

#endif
