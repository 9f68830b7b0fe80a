/* zonefile.h - reads a zone file in standard master format into a zone, by ldns. Start-up and
 * reload; blocking; any thread. */
#ifndef LANYARD_DNSD_ZONEFILE_H
#define LANYARD_DNSD_ZONEFILE_H

#include "common/base/attr.h"
#include "common/base/err.h"
#include "dnsd/core/zone.h"

/* Adds the records of the file at `path` to `z`, which is not finished by this.
 * Errors: ERR_CONFIG with "FILE:LINE: what is wrong" for the content; ERR_NOTFOUND, ERR_DENIED,
 * ERR_IO when the file cannot be read; ERR_NOMEM. */
NODISCARD enum err zonefile_read(struct zone *z, const char *path, struct err_info *info);

#endif
