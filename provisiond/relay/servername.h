/* servername.h - which device, of which zone, a name belongs to: "<label>.<id>.<zone>" or
 * "<id>.<zone>". Pure; any thread. */
#ifndef LANYARD_PROVISIOND_RELAY_SERVERNAME_H
#define LANYARD_PROVISIOND_RELAY_SERVERNAME_H

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/pki/devid.h"

/* Finds the id in `name` and the index of its zone among the `n` of `zones`; all in lower case
 * without a final dot. Errors: ERR_NOTFOUND (none of these zones), ERR_INVALID (not a device's). */
NODISCARD enum err servername_read(struct devid *id, size_t *zone, const char *name,
                                   char *const *zones, size_t n);

#endif
