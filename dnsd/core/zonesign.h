/* zonesign.h - makes a zone a signed one: puts the records of its keys at the apex, and signs the
 * static records ahead. At load, by one thread: this allocates and takes its time. */
#ifndef LANYARD_DNSD_CORE_ZONESIGN_H
#define LANYARD_DNSD_CORE_ZONESIGN_H

#include "common/base/attr.h"
#include "common/base/err.h"
#include "dnsd/core/keyring.h"
#include "dnsd/core/zone.h"

/* Adds the DNSKEY records of `ring`, and the CDS and CDNSKEY records where the zone file has none
 * of its own (such as those that ask the parent to remove the DS [RFC 8078 s4]). The zone is not
 * finished yet; `ring` is its own from here on, also on an error. Errors: as zone_add(). */
NODISCARD enum err zonesign_prepare(struct zone *z, struct keyring *ring, struct err_info *info);

/* Signs what is static in the finished zone by `signer`, which has no budget. The zone's records
 * come out in canonical form. Errors: ERR_NOMEM, ERR_CRYPTO, ERR_RANGE for a clock that was never
 * set. */
NODISCARD enum err zonesign_finish(struct zone *z, struct signer *signer, int64_t now_s,
                                   struct err_info *info);

/* Whether all keys sign the records of `type`, and not the active one only. */
bool zonesign_by_all(unsigned type);

/* The data of the CDS record of `key` at `apex`, which is also that of its DS record: SHA-256.
 * Errors: ERR_CRYPTO. */
#define ZONESIGN_DS_LEN 36
NODISCARD enum err zonesign_ds(uint8_t out[ZONESIGN_DS_LEN], const struct sign_key *key,
                               const struct name *apex);

#endif
