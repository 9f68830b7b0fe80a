/* zonesign.h - makes a zone one that can be signed: puts the records of its keys at the apex, and
 * all records into canonical form. At load, by one thread; it allocates. */
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

/* Puts the records of the finished zone into canonical form, and numbers their sets. Errors:
 * ERR_NOMEM. */
NODISCARD enum err zonesign_finish(struct zone *z, struct err_info *info);

/* Whether all keys sign the records of `type`, and not the active one only. */
bool zonesign_by_all(unsigned type);

/* The data of the CDS record of `key` at `apex`, which is also that of its DS record: SHA-256.
 * Errors: ERR_CRYPTO. */
#define ZONESIGN_DS_LEN 36
NODISCARD enum err zonesign_ds(uint8_t out[ZONESIGN_DS_LEN], const struct sign_key *key,
                               const struct name *apex);

#endif
