/* shield.h - what a view has beside its zones: whom it believes, how much it answers to strangers,
 * and what it tells about itself. Immutable once the view is published. */
#ifndef LANYARD_DNSD_CORE_SHIELD_H
#define LANYARD_DNSD_CORE_SHIELD_H

#include "common/base/attr.h"
#include "dnsd/core/cookie.h"
#include "dnsd/core/edns.h"
#include "dnsd/core/identity.h"
#include "dnsd/core/rrl.h"

struct shield {
    struct cookie_keys cookies;
    bool cookies_are_random; /* made at the start: a reload keeps them */
    struct rrl_policy rrl;
    struct identity identity;
};

/* Fills `out` with the options of the reply to a query with `e`: its cookie (first) and NSID.
 * Returns whether the client at `ip` (empty when unknown) has shown that it is there. */
bool shield_greet(struct edns_options *out, const struct shield *g, const struct edns *e,
                  struct span ip, int64_t now_s);

#endif
