#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* What a handshake does with these contexts is in test_httpd.py; here is what makes no context. */
#include <string.h>

#include "common/net/tls.h"
#include "common/pki/key.h"
#include "tests/lib/testcert.h"

static void test_key_must_fit(void **state)
{
    EVP_PKEY *key = NULL, *other = NULL;
    SSL_CTX *ctx = NULL;
    struct err_info info;
    (void)state;
    assert_int_equal(key_new(&key, KEY_P256), ERR_OK);
    assert_int_equal(key_new(&other, KEY_P256), ERR_OK);
    STACK_OF(X509) *chain = sk_X509_new_null();
    assert_int_equal(tls_server_new(&ctx, NULL, key, chain, TLS_PEER_ANONYMOUS, NULL, &info),
                     ERR_CRYPTO);
    X509 *cert = testcert_new(key, "DNS:a", -60, 60);
    sk_X509_push(chain, cert);
    assert_int_equal(tls_server_new(&ctx, NULL, other, chain, TLS_PEER_ANONYMOUS, NULL, &info),
                     ERR_CRYPTO);
    assert_non_null(strstr(info.text, "mismatch"));
    assert_null(ctx);
    assert_int_equal(tls_server_new(&ctx, NULL, key, chain, TLS_PEER_ANY_KEY, "http/1.1", &info),
                     ERR_OK);
    assert_int_equal(SSL_CTX_get_min_proto_version(ctx), TLS1_3_VERSION);
    SSL_CTX_free(ctx);
    assert_int_equal(tls_server_new(&ctx, NULL, key, chain, TLS_PEER_ANONYMOUS, NULL, &info),
                     ERR_OK);
    assert_int_equal(SSL_CTX_get_min_proto_version(ctx), TLS1_2_VERSION);
    SSL_CTX_free(ctx);
    sk_X509_pop_free(chain, X509_free);
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_key_must_fit) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
