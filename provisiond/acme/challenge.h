/* challenge.h - the kinds of challenge that an acme issuer can answer: one row each. Pure; any
 * thread. */
#ifndef LANYARD_PROVISIOND_ACME_CHALLENGE_H
#define LANYARD_PROVISIOND_ACME_CHALLENGE_H

#include <stdbool.h>

struct challenge_kind {
    const char *type; /* as in the CA's authorisations, and in the configuration */
    bool has_token;   /* a value that follows from the CA's token is published under the name;
                         otherwise the record stands in the zone and there is nothing to publish */
};

/* By its type; NULL when it is none of ours. NULL gives dns-01. */
const struct challenge_kind *challenge_kind_find(const char *type);

#endif
