#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "common/pki/keyctx.h"

/* Made beforehand: to make one takes a minute under valgrind. */
static const char RSA_PEM[] = "-----BEGIN PUBLIC KEY-----\n"
                              "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAtkXvHhDGPfBk9DUFiFgd\n"
                              "OBI6cSnGMBNAE83ZPlVL4Z9OTo8tQUKI6PxRtD3x5F5UgBv6sDIVLSyDEbgrwqSW\n"
                              "kJRcHrQiolubTu2BlYODfkk8ejI/HELDrfhwoDiDN32eoMqMIGflX4sMu6eubHQK\n"
                              "9z5c+h3/CMBGVdnSrEWOXDPUX8mr1Ow+XDvAXgWh7H6DKeOjN97ruK+ukF0juhnS\n"
                              "QaTwniFdhYBqT1dpl24AzjKjwH2n15bPj2I4MeCR7LNQ+7POQlNyxnZjAlekEexG\n"
                              "fBy5lcZauEJ6Hqp7yhwNmHarK7TYDx7GWvtZp/aMadlZxU/K7hV5Z9KVV26k3n0E\n"
                              "CwIDAQAB\n"
                              "-----END PUBLIC KEY-----\n";

static EVP_PKEY *rsa_key(void)
{
    BIO *bio = BIO_new_mem_buf(RSA_PEM, -1);
    EVP_PKEY *key = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
    BIO_free_all(bio);
    return key;
}

static EVP_PKEY *key_of(const char *type, const char *group)
{
    if (strcmp(type, "RSA") == 0)
        return rsa_key();
    return group != NULL ? EVP_PKEY_Q_keygen(NULL, NULL, type, group)
                         : EVP_PKEY_Q_keygen(NULL, NULL, type);
}

/* A certificate over the key by that issuer, as it comes over the wire. */
static int encode(EVP_PKEY *key, EVP_PKEY *issuer, unsigned char **der)
{
    X509 *cert = X509_new();
    assert_int_equal(X509_set_version(cert, X509_VERSION_3), 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(cert), 0));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(cert), 3600));
    assert_int_equal(X509_set_pubkey(cert, key), 1);
    assert_true(X509_sign(cert, issuer, EVP_sha256()) > 0);
    int len = i2d_X509(cert, der);
    assert_true(len > 0);
    X509_free(cert);
    return len;
}

static void keys_are_read_as_in_the_whole(void **state)
{
    static const struct {
        const char *why, *type, *group;
        bool want; /* whether it is read with its key */
    } KINDS[] = {
        { "of devices", "EC", "P-256", true },
        { "of certificates", "EC", "P-384", true },
        { "refused for its curve, not as unreadable", "EC", "P-521", true },
        { "of certificates", "RSA", NULL, true },
        { "of a factory", "ED25519", NULL, true },
        { "nobody's: left unread", "ED448", NULL, false },
    };
    (void)state;
    EVP_PKEY *issuer = key_of("EC", "P-256");
    assert_non_null(keyctx_get());
    assert_ptr_equal(keyctx_get(), keyctx_get());
    for (size_t i = 0; i < sizeof KINDS / sizeof KINDS[0]; i++) {
        EVP_PKEY *key = key_of(KINDS[i].type, KINDS[i].group);
        unsigned char *der = NULL;
        int len = encode(key, issuer, &der);
        const unsigned char *p = der;
        X509 *cert = X509_new_ex(keyctx_get(), NULL);
        assert_non_null(d2i_X509(&cert, &p, len));
        EVP_PKEY *there = X509_get0_pubkey(cert);
        if ((there != NULL) != KINDS[i].want)
            fail_msg("%s: %s", KINDS[i].type, KINDS[i].why);
        if (there != NULL)
            assert_int_equal(EVP_PKEY_eq(key, there), 1); /* across the contexts */
        assert_int_equal(X509_verify(cert, issuer), 1);
        X509_free(cert);
        OPENSSL_free(der);
        EVP_PKEY_free(key);
    }
    EVP_PKEY_free(issuer);
    ERR_clear_error();
}

/* What TLS 1.3 needs: its ciphers and a group. Handshakes are in test_device_api.py. */
static void tls_finds_its_algorithms(void **state)
{
    char groups[] = "X25519:P-256:P-384"; /* OpenSSL's macro casts const away */
    (void)state;
    SSL_CTX *ctx = SSL_CTX_new_ex(keyctx_get(), NULL, TLS_server_method());
    assert_non_null(ctx);
    assert_int_equal(SSL_CTX_set1_groups_list(ctx, groups), 1);
    SSL *ssl = SSL_new(ctx);
    assert_non_null(ssl);
    STACK_OF(SSL_CIPHER) *ciphers = SSL_get1_supported_ciphers(ssl);
    unsigned n = 0;
    for (int i = 0; i < sk_SSL_CIPHER_num(ciphers); i++) {
        const char *version = SSL_CIPHER_get_version(sk_SSL_CIPHER_value(ciphers, i));
        n += strcmp(version, "TLSv1.3") == 0;
    }
    assert_int_equal(n, 3);
    sk_SSL_CIPHER_free(ciphers);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_read_as_in_the_whole),
        cmocka_unit_test(tls_finds_its_algorithms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
