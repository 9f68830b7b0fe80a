/* sign.h - signatures over records: ECDSA P-256 with SHA-256. [RFC 4034 s3, RFC 6605]
 *
 * A signature is valid from a day and two hours before a moment that depends on the owner, at most
 * a week ago, and until two weeks after it. So it is good for a week more at least, and also while
 * our clock is a day ahead; never all of a zone is due at once; and the same records have the same
 * signature for a week, so that it can be kept.
 *
 * A key is immutable and shared by all threads; a signer belongs to one thread. Signing allocates
 * nothing of ours, but OpenSSL does inside of EVP_PKEY_sign(); a signature from the cache costs one
 * SHA-256. No input or output, no clock. */
#ifndef LANYARD_DNSD_CORE_SIGN_H
#define LANYARD_DNSD_CORE_SIGN_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/metric.h"
#include "common/base/span.h"
#include "common/dns/name.h"

#define SIGN_ALGORITHM 13
#define SIGN_SECRET_LEN 32 /* bytes of a private key */
#define SIGN_DNSKEY_LEN 68 /* flags, protocol, algorithm, public key */
#define SIGN_RRSIG_HEAD 18 /* bytes of RRSIG data before the signer's name */
#define SIGN_SIG_LEN 64
#define SIGN_RRSIG_MAX (SIGN_RRSIG_HEAD + NAME_WIRE_MAX + SIGN_SIG_LEN)
#define SIGN_PERIOD_S 604800 /* a signature is used for so long, and valid for twice that */
#define SIGN_EARLY_S 93600   /* and from so much before, for clocks that differ */

/* A clock that shows less was never set: nothing is signed by it. 2026-11-01. */
#define SIGN_CLOCK_MIN INT64_C(1793491200)

struct sign_key {
    struct evp_pkey_st *pkey;
    uint64_t id; /* of the public key */
    uint16_t tag;
    uint8_t dnskey[SIGN_DNSKEY_LEN]; /* data of its DNSKEY record: a key for everything (257) */
};

/* The key of `secret`, a number in big-endian form. The caller calls sign_key_clear(). Errors:
 * ERR_CRYPTO when it is no private key of the curve, ERR_NOMEM. */
NODISCARD enum err sign_key_init(struct sign_key *k, const uint8_t secret[SIGN_SECRET_LEN]);
void sign_key_clear(struct sign_key *k);

/* Records of one owner and type. They are in canonical form and order already, each with an owner
 * of two bytes in front (a pointer), as in a reply. [RFC 4034 s6] */
struct sign_set {
    struct span owner; /* wire form, lower case */
    unsigned n_labels; /* of the owner */
    unsigned type;
    uint32_t ttl_s; /* of the zone, whatever the reply has */
    struct span rrs;
};

/* When a signature over `set` made at `now_s` is made anew, and from when its times would hold. */
struct sign_times {
    int64_t from_s;  /* inception */
    int64_t renew_s; /* from then on another one is made */
    int64_t until_s; /* expiration */
};
struct sign_times sign_times(const struct sign_set *set, int64_t now_s);

/* What one thread signs with. */
struct signer; /* opaque */

/* Counts of a signer: signatures made, taken from the cache, and refused for the budget. One
 * writer, its thread; any thread reads. */
struct signer_counts {
    struct metric made, cached, refused;
};

/* A signer that keeps `n_kept` signatures (a power of two; 0 for none). The caller calls
 * signer_free(). Errors: ERR_RANGE, ERR_NOMEM, ERR_CRYPTO. */
#define SIGNER_KEPT 8192 /* right for a thread that serves: 0.8 MiB when all are in use */
NODISCARD enum err signer_new(struct signer **out, size_t n_kept);
void signer_free(struct signer *s);

/* From now on it makes at most `budget` signatures in one second; 0, as at first, is any number. */
void signer_limit(struct signer *s, unsigned budget);

const struct signer_counts *signer_counts(const struct signer *s);

/* The data of the RRSIG record over `set` in the zone at `apex`, into `out`; its length in *len.
 * Errors: ERR_LIMIT when the budget of this second is spent, ERR_RANGE for a clock that was never
 * set, ERR_CRYPTO, ERR_INVALID for a broken set. */
NODISCARD enum err signer_sign(struct signer *s, const struct sign_key *key,
                               const struct name *apex, const struct sign_set *set, int64_t now_s,
                               uint8_t out[SIGN_RRSIG_MAX], size_t *len);

#endif
