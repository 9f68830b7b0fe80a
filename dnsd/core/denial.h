/* denial.h - NSEC data that says which types a name has and nothing about any other name: compact
 * denial of existence. A name that does not exist is said to have the type NXNAME.
 * [RFC 9824, RFC 4034 s4.1] Pure; no allocation. */
#ifndef LANYARD_DNSD_CORE_DENIAL_H
#define LANYARD_DNSD_CORE_DENIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/dns/name.h"
#include "common/dns/wire.h"
#include "dnsd/core/zone.h"

/* Types of a name besides RRSIG and NSEC, which every name has. */
struct denial {
    bool missing;                 /* there is no such name */
    uint8_t n_types;              /* of `types` */
    uint16_t types[2];            /* of a synthesised name */
    const struct zone_node *node; /* of a static one; NULL for none */
};

/* Writes the data of the NSEC record of `owner` in the zone at `apex`: the next name there could
 * be, and the types. */
void denial_write(struct wire_writer *w, const struct name *owner, const struct name *apex,
                  const struct denial *d);

#endif
