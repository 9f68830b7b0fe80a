/* servercert.h - the certificate and key of DNS over TLS: loaded from two files, and loaded again
 * when they change. Blocking; one thread at a time. */
#ifndef LANYARD_DNSD_SERVERCERT_H
#define LANYARD_DNSD_SERVERCERT_H

#include <stdbool.h>
#include <stdint.h>

#include <openssl/ssl.h>

#include "common/base/attr.h"
#include "common/base/err.h"

struct servercert; /* opaque: the paths, and what the files were like at the last load */

/* The caller owns *out. Errors: ERR_NOMEM. */
NODISCARD enum err servercert_new(struct servercert **out, const char *cert_path,
                                  const char *key_path);

void servercert_free(struct servercert *c);

/* A context for servers from the files as they are now; the caller calls SSL_CTX_free(). The key
 * file must be closed to others. TLS 1.2 and 1.3, ALPN "dot" where the client offers any [RFC 7858,
 * RFC 7301]; sessions resume from memory, for as long as the context lives.
 * Errors: ERR_CRYPTO when key and certificate do not belong together, ERR_INVALID, ERR_NOTFOUND,
 * ERR_DENIED, ERR_IO, ERR_NOMEM. */
NODISCARD enum err servercert_load(struct servercert *c, SSL_CTX **out, struct err_info *info);

/* Whether a file is another, or was written to, since the last servercert_load(), failed ones
 * included; but after ERR_IO and ERR_NOMEM, which pass, they are always to be read again. */
bool servercert_has_changed(const struct servercert *c);

/* When the certificate of the last successful servercert_load() ends, Unix seconds; 0 before one.
 */
int64_t servercert_not_after(const struct servercert *c);

#endif
