/* zonefile.h - reads a zone file in standard master format into a zone: zonetext takes it apart,
 * ldns understands each record. Start-up and reload; blocking; any thread. */
#ifndef LANYARD_DNSD_ZONEFILE_H
#define LANYARD_DNSD_ZONEFILE_H

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/span.h"
#include "dnsd/core/zone.h"

#define ZONEFILE_MAX (64u << 20) /* bytes of a file */

/* Adds the records of the file at `path` to `z`, which is not finished by this.
 * Errors: ERR_CONFIG with "FILE:LINE:COLUMN: what is wrong" for the content; ERR_NOTFOUND,
 * ERR_DENIED, ERR_IO when the file cannot be read, ERR_LIMIT when it is larger than ZONEFILE_MAX;
 * ERR_NOMEM. */
NODISCARD enum err zonefile_read(struct zone *z, const char *path, struct err_info *info);

/* As zonefile_read(), from memory: ERR_CONFIG with "LINE:COLUMN: what is wrong", ERR_NOMEM. */
NODISCARD enum err zonefile_parse(struct zone *z, struct span text, struct err_info *info);

#endif
