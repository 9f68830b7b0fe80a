/* rrsig.h - RRSIG and NSEC records in the replies of a signed zone. The answer path's; allocates
 * nothing itself. What does not fit is an overflow of the writer, as with any other record. */
#ifndef LANYARD_DNSD_CORE_RRSIG_H
#define LANYARD_DNSD_CORE_RRSIG_H

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/dns/wire.h"
#include "dnsd/core/denial.h"
#include "dnsd/core/presigned.h"

/* Who signs what, for one reply. */
struct rrsig {
    const struct zone *zone; /* signed */
    struct signer *signer;
    const struct presigned *ahead; /* of the zone */
    int64_t now_s;
    struct wire_writer *w;
    const struct name *owner;
    unsigned pointer; /* to the owner, in the reply */
    uint32_t ttl_s;   /* in the reply */
};

/* Each of these counts the records that it writes in *n. Errors: of signer_sign(), and ERR_CRYPTO
 * without a signer; the writer is then in no order. */

/* Signs the records of `type` from `from` to the end of what is written, in canonical order. */
NODISCARD enum err rrsig_put(const struct rrsig *s, unsigned type, size_t from, uint16_t *n);

/* The signatures of a static set: those made ahead, if their time is now. */
NODISCARD enum err rrsig_put_static(const struct rrsig *s, const struct rrset *set, uint16_t *n);

/* The NSEC record, and with `sign` its signature. */
NODISCARD enum err rrsig_put_nsec(const struct rrsig *s, const struct denial *d, bool sign,
                                  uint16_t *n);

/* Only the signature of the NSEC record, which is all that is told to who asks for signatures. */
NODISCARD enum err rrsig_put_only(const struct rrsig *s, const struct denial *d, uint16_t *n);

#endif
