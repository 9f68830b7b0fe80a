/* owncert.h - the certificate of our own listeners: the operator's files, or one that the local CA
 * makes. Blocking (small files); one thread. */
#ifndef LANYARD_PROVISIOND_OWNCERT_H
#define LANYARD_PROVISIOND_OWNCERT_H

#include <stdint.h>

#include <openssl/ssl.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "provisiond/config.h"
#include "provisiond/local/localca.h"

struct owncert {
    const struct config *config;
    struct localca *ca;                /* used when the configuration names no tls_cert */
    int64_t not_before_s, not_after_s; /* of the certificate in use; 0 before the first */
};

/* Contexts for the device listener and the public one, from the files as they are now or with a
 * fresh certificate; the caller calls SSL_CTX_free(). On an error the dates stay as they were.
 * Errors: ERR_CRYPTO when key and certificate do not belong together, ERR_INVALID, ERR_NOTFOUND,
 * ERR_DENIED, ERR_IO, ERR_NOMEM. */
NODISCARD enum err owncert_make(struct owncert *o, SSL_CTX **device, SSL_CTX **public_ctx,
                                struct err_info *info);

#endif
