/* keyctx.h - a library context of OpenSSL in which certificates and requests are read at less cost.
 * OpenSSL 3.0 goes through every decoder of every provider for each public key that it reads, which
 * was a quarter of the CPU of a certificate. This context has the default provider's algorithms
 * but, of its decoders and its kinds of keys, those alone that are needed here. Any thread; one for
 * the life of the process. */
#ifndef LANYARD_PKI_KEYCTX_H
#define LANYARD_PKI_KEYCTX_H

#include <openssl/types.h>

/* For X509_new_ex(), X509_REQ_new_ex() and SSL_CTX_new_ex(). It reads public keys that are EC, RSA
 * or Ed25519; what has another is read without (X509_get0_pubkey() is NULL). NULL, OpenSSL's own
 * context, where it cannot be made, and where openssl.cnf chooses other providers (FIPS). */
OSSL_LIB_CTX *keyctx_get(void);

#endif
