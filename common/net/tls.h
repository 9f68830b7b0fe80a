/* tls.h - OpenSSL contexts the way Lanyard wants them: TLS 1.2 and up, ECDHE with AEAD only, no
 * compression, no renegotiation. Any thread; a context is not changed while connections use it:
 * make a new one and swap it. */
#ifndef LANYARD_NET_TLS_H
#define LANYARD_NET_TLS_H

#include <openssl/ssl.h>

#include "common/base/attr.h"
#include "common/base/err.h"

enum tls_peer {
    TLS_PEER_ANONYMOUS, /* never ask the client for a certificate */
    TLS_PEER_ANY_KEY, /* TLS 1.3 only; ask, and accept whatever certificate proves a key: who it is
                         is decided above, from the key [design: identity] */
};

/* A server context for `key` and `chain` (leaf first; both only referenced, the caller keeps its
 * own references). ALPN: `alpn` is the one protocol offered, such as "http/1.1"; NULL takes none.
 * The string must outlive the context: pass a literal. Sessions resume from a cache in memory with
 * TLS_PEER_ANONYMOUS, and never with TLS_PEER_ANY_KEY: every connection proves its key.
 * `library` is OpenSSL's context to work in, NULL for its own; it must outlive the connections.
 * The caller calls SSL_CTX_free(). Errors: ERR_CRYPTO when the key does not belong to the leaf,
 * ERR_NOMEM. */
NODISCARD enum err tls_server_new(SSL_CTX **out, OSSL_LIB_CTX *library, EVP_PKEY *key,
                                  STACK_OF(X509) * chain, enum tls_peer peer, const char *alpn,
                                  struct err_info *info);

/* The most recent OpenSSL error of this thread as a sentence, and an empty error queue. */
const char *tls_error(char *out, size_t cap);

#endif
