/* canon.h - the canonical form and order of the records of a set, in which they are signed.
 * [RFC 4034 s6.2, s6.3; RFC 6840 s5.1] Pure, but allocates: at load, never when answering. */
#ifndef LANYARD_DNSD_CORE_CANON_H
#define LANYARD_DNSD_CORE_CANON_H

#include "common/base/attr.h"
#include "common/base/err.h"
#include "dnsd/core/zone.h"

/* Makes names in the data lower case, sorts the records, and leaves out those that are the same by
 * now. Errors: ERR_NOMEM. */
NODISCARD enum err canon_rrset(struct rrset *set);

#endif
