/* resolve.h - questions to one named DNS server (not the system's resolver) by c-ares: UDP, then
 * TCP when truncated. One loop, its thread. */
#ifndef LANYARD_NET_RESOLVE_H
#define LANYARD_NET_RESOLVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/addr.h"
#include "common/net/loop.h"

#define RESOLVE_TXT_MAX 64 /* values handed over; more are left out */

struct resolve_op; /* one question under way; opaque */

struct resolve_result {
    enum err e; /* ERR_OK: at least one value; ERR_NOTFOUND: NXDOMAIN or no such record;
                   ERR_REMOTE: SERVFAIL, REFUSED and the like; ERR_TIMEOUT; ERR_UNAVAILABLE */
    struct err_info info;
    size_t n_values;
    const char *values[RESOLVE_TXT_MAX]; /* each the joined strings of one TXT record,
                                            NUL-terminated; borrowed during the callback */
};

/* Asks `server` for the TXT records of `name`. `fn` is called exactly once, later, from the loop.
 * *op (optional) can be given to resolve_cancel() until then. Errors: ERR_NOMEM, ERR_INVALID for a
 * name with anything but letters, digits, - and _ in its labels. */
NODISCARD enum err resolve_txt(struct loop *l, const struct addr *server, const char *name,
                               int64_t timeout_ms,
                               void (*fn)(void *arg, const struct resolve_result *res), void *arg,
                               struct resolve_op **op);

/* Ends the question without a callback; also from inside the callback of another one, but not from
 * inside its own. NULL does nothing. */
void resolve_cancel(struct resolve_op *op);

#endif
