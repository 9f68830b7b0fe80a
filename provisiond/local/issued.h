/* issued.h - the certificates that the local CA signed lately, as files, so that asking twice for
 * the same thing, also after a restart, gives the same certificate. Blocking file access; one
 * thread at a time. */
#ifndef LANYARD_PROVISIOND_LOCAL_ISSUED_H
#define LANYARD_PROVISIOND_LOCAL_ISSUED_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/span.h"

#define ISSUED_KEY_LEN 64 /* characters of lower-case hexadecimal */

struct issued_key {
    char text[ISSUED_KEY_LEN + 1]; /* NUL-terminated */
};

/* The key of the certificate for request `csr_der` in the order `order`. Errors: ERR_NOMEM. */
NODISCARD enum err issued_key_make(struct issued_key *out, const char *order, struct span csr_der);

bool issued_key_is_valid(const char *text);

/* Appends the stored chain. Errors: ERR_NOTFOUND, ERR_IO, ERR_LIMIT. */
NODISCARD enum err issued_get(const char *dir, const char *key, struct buf *pem,
                              struct err_info *info);

/* Stores a chain under `key`. Errors: those of files. */
NODISCARD enum err issued_put(const char *dir, const char *key, struct span pem,
                              struct err_info *info);

/* Removes what was stored before `before_s` (Unix seconds). Failures are left for the next time. */
void issued_prune(const char *dir, int64_t before_s);

#endif
