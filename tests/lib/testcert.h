/* testcert.h - certificates that only tests make. Header-only: each test program uses its own. */
#ifndef LANYARD_TESTS_TESTCERT_H
#define LANYARD_TESTS_TESTCERT_H

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <stdio.h>
#include <stdlib.h>

/* A self-signed certificate for `key` with the subjectAltName `san` ("IP:127.0.0.1"), valid from
 * `from_s` to `to_s` seconds from now. The caller frees it. Ends the program on an error. */
static inline X509 *testcert_new(EVP_PKEY *key, const char *san, long from_s, long to_s)
{
    X509 *c = X509_new();
    X509_NAME *name = X509_NAME_new();
    if (c == NULL || name == NULL)
        abort();
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, c, c, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, NID_subject_alt_name, san);
    if (ext == NULL || X509_set_version(c, X509_VERSION_3) != 1 ||
        ASN1_INTEGER_set(X509_get_serialNumber(c), 1) != 1 ||
        X509_gmtime_adj(X509_getm_notBefore(c), from_s) == NULL ||
        X509_gmtime_adj(X509_getm_notAfter(c), to_s) == NULL ||
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1,
                                   0) != 1 ||
        X509_set_subject_name(c, name) != 1 || X509_set_issuer_name(c, name) != 1 ||
        X509_add_ext(c, ext, -1) != 1 || X509_set_pubkey(c, key) != 1 ||
        X509_sign(c, key, EVP_sha256()) == 0)
        abort();
    X509_NAME_free(name);
    X509_EXTENSION_free(ext);
    return c;
}

/* Writes the PEM of `c` to `path`. */
static inline void testcert_write(X509 *c, const char *path)
{
    FILE *f = fopen(path, "w");
    if (f == NULL || PEM_write_X509(f, c) != 1)
        abort();
    fclose(f);
}

#endif
