/* identity.h - which server this is, for those who ask: NSID [RFC 5001], and the CHAOS names
 * version.bind, version.server, hostname.bind and id.server [RFC 4892]. Pure; no allocation. */
#ifndef LANYARD_DNSD_CORE_IDENTITY_H
#define LANYARD_DNSD_CORE_IDENTITY_H

#include "common/dns/name.h"

#define IDENTITY_TEXT_MAX 64 /* bytes of each text, so that a reply stays small */

/* Each with its NUL; empty is not told. */
struct identity {
    char nsid[IDENTITY_TEXT_MAX + 1];
    char version[IDENTITY_TEXT_MAX + 1];
    char hostname[IDENTITY_TEXT_MAX + 1];
};

/* The text at the CHAOS name `name`; NULL when there is none, or it is not told. */
const char *identity_find(const struct identity *id, const struct name *name);

#endif
