/* alpn.h - the protocols that a backend speaks, in the order of preference, as TLS has them: each
 * name behind its length [RFC 7301 s3.1]. Pure; any thread. */
#ifndef LANYARD_AGENT_CORE_ALPN_H
#define LANYARD_AGENT_CORE_ALPN_H

#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"

#define ALPN_MAX 64 /* bytes of all names and their lengths */

/* Zero it: none, so that nothing is negotiated. */
struct alpn {
    uint8_t len, list[ALPN_MAX];
};

/* What a proxy is for when nothing is said. */
extern const struct alpn ALPN_HTTP1;

/* Appends `name`. Errors: ERR_INVALID for an empty one, ERR_LIMIT when there is no room for it. */
NODISCARD enum err alpn_add(struct alpn *a, const char *name);

#endif
