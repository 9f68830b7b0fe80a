/* oidcdoc.h - where an OpenID Connect issuer says how it is to be used, and what of that is of use
 * here: the address of its key set. Pure; any thread. [OpenID Connect Discovery 1.0 s4] */
#ifndef LANYARD_PROVISIOND_CORE_OIDCDOC_H
#define LANYARD_PROVISIOND_CORE_OIDCDOC_H

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/span.h"

#define OIDCDOC_MAX (64 * 1024) /* bytes of the document */
#define OIDCDOC_URL_MAX 1024    /* bytes with the NUL */

/* The URL of the document of `issuer`. Errors: ERR_LIMIT. */
NODISCARD enum err oidcdoc_url(char out[OIDCDOC_URL_MAX], const char *issuer);

/* The URL of the key set from the document `text`, which must be of exactly that issuer.
 * Errors: ERR_INVALID with a sentence. */
NODISCARD enum err oidcdoc_parse(char out[OIDCDOC_URL_MAX], struct span text, const char *issuer,
                                 struct err_info *info);

#endif
