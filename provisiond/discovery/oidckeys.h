/* oidckeys.h - the keys of the vendors' own OpenID Connect issuers: fetched when first needed, kept
 * for an hour, and fetched again for a key that is not known, three times at once and then
 * once a minute at most. When an issuer cannot be asked its keys go on for a day. One loop, its
 * thread. */
#ifndef LANYARD_PROVISIOND_DISCOVERY_OIDCKEYS_H
#define LANYARD_PROVISIOND_DISCOVERY_OIDCKEYS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/metric.h"
#include "common/base/span.h"
#include "common/net/loop.h"
#include "provisiond/config.h"
#include "provisiond/core/jwt.h"

#define OIDCKEYS_WAIT_MAX 128 /* visits that wait for one issuer at once */

struct oidckeys; /* opaque */

/* Whoever waits; embedded, all zero while it does not. */
struct oidckeys_wait {
    void (*fn)(void *arg); /* set by the owner: verify again */
    void *arg;
    struct oidckeys_wait **head; /* private; NULL: does not wait */
    struct oidckeys_wait *prev, *next;
    bool has_waited; /* private: it is not fetched twice for one token */
};

/* For the issuers of the zones of `config`; asks nobody yet. Errors: ERR_NOMEM, ERR_CONFIG for a CA
 * file that cannot be used. */
NODISCARD enum err oidckeys_new(struct oidckeys **out, struct loop *l, const struct config *config,
                                struct err_info *info);
void oidckeys_free(struct oidckeys *o);

/* Checks the signature of `token`, which `t` was read from, with the keys of the issuer of the zone
 * number `zone` of the configuration. Errors: ERR_CRYPTO when it does not hold, ERR_UNAVAILABLE
 * when the keys cannot be had at present, ERR_AGAIN when they are being fetched: wait->fn is then
 * called once, later, unless oidckeys_cancel() comes first. */
NODISCARD enum err oidckeys_verify(struct oidckeys *o, size_t zone, const struct jwt *t,
                                   struct span token, struct oidckeys_wait *wait);

void oidckeys_cancel(struct oidckeys_wait *wait);

/* How often keys were fetched, and how often that failed. Any thread. */
struct oidckeys_counts {
    struct metric fetched, failed;
};
const struct oidckeys_counts *oidckeys_counts(const struct oidckeys *o);

#endif
