/* modulus.h - RSA moduli that were seen lately in each zone, so that a key that shares a prime with
 * another one is found: devices with bad random numbers make such keys, and whoever collects them
 * can factor both. Blocking: store thread, inside a transaction. */
#ifndef LANYARD_PROVISIOND_STORE_MODULUS_H
#define LANYARD_PROVISIOND_STORE_MODULUS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/span.h"
#include "common/pki/devid.h"
#include "provisiond/store/sql.h"

#define MODULUS_KEPT 1024 /* of a zone: the cost of a check, and how far it looks back */

/* Holds the modulus `n` of a key of `device_id` against those of the zone that were seen last, and
 * keeps it if it shares no prime with them. Where it does both devices are flagged, *shared is
 * true. Asking again about the same modulus changes nothing. Errors: ERR_NOMEM and those of the
 * database. */
NODISCARD enum err modulus_claim(struct sql *db, const char *zone, const char *device_id,
                                 struct span n, int64_t now_s, bool *shared, struct err_info *info);

#endif
