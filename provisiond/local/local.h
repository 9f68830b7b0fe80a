/* local.h - the issuer of type "local": a private CA that needs no challenge. An order is READY at
 * once and VALID when finalized. One loop, its thread; signing writes a small file, a few
 * milliseconds on the loop. */
#ifndef LANYARD_PROVISIOND_LOCAL_LOCAL_H
#define LANYARD_PROVISIOND_LOCAL_LOCAL_H

#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/loop.h"
#include "provisiond/issuer.h"
#include "provisiond/local/localca.h"

#define LOCAL_LIFE_S                                                                               \
    ((int64_t)90 * 86400) /* of a certificate, unless the options say otherwise                    \
                           */

struct local_options {
    const char *name;    /* as configured; kept, not copied */
    struct localca *ca;  /* borrowed; must outlive the issuer */
    int64_t life_s;      /* of a certificate; 0: LOCAL_LIFE_S */
    const char *crl_url; /* where its revocation list is; NULL: nowhere. Kept, not copied */
};

/* On success *out is the caller's: (*out)->ops->free(*out). Errors: ERR_NOMEM.
 * Orders hold no state but their URL, and certificates are kept as files for a week, so that every
 * step can be repeated, also after a restart: the same order and CSR give the same certificate. */
NODISCARD enum err local_issuer_new(struct issuer **out, struct loop *l,
                                    const struct local_options *o);

#endif
