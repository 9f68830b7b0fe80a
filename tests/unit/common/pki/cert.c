#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "common/pki/cert.h"
#include "common/pki/devid.h"
#include "common/pki/key.h"

#define NOW 1795232630

static EVP_PKEY *key;
static X509 *cert;

static int set_up(void **state)
{
    (void)state;
    assert_int_equal(key_new(&key, KEY_P256), ERR_OK);
    assert_int_equal(cert_new_identity(&cert, key, NOW), ERR_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    X509_free(cert);
    EVP_PKEY_free(key);
    return 0;
}

static void test_identity(void **state)
{
    struct devid id;
    char name[64], serial[41];
    int64_t from, to;
    (void)state;
    assert_int_equal(devid_from_key(&id, key), ERR_OK);
    assert_true(X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, name,
                                          sizeof name) == DEVID_LEN);
    assert_string_equal(name, id.text);
    assert_int_equal(X509_verify(cert, key), 1);
    assert_int_equal(cert_validity(cert, &from, &to), ERR_OK);
    assert_true(from == NOW - 86400 && to > NOW + (int64_t)9 * 365 * 86400);
    assert_int_equal(cert_serial_hex(cert, serial, sizeof serial), ERR_OK);
    assert_string_equal(serial, "01");
    assert_int_equal(cert_serial_hex(cert, serial, 2), ERR_LIMIT);
}

static void test_chains(void **state)
{
    static const struct {
        const char *why, *before, *after;
        unsigned n;
        enum err want;
    } CASES[] = {
        { "one", "", "", 1, ERR_OK },
        { "text around it is skipped", "subject=x\n", "\nend\n", 1, ERR_OK },
        { "as many as fit", "", "", CERT_CHAIN_MAX, ERR_OK },
        { "one more", "", "", CERT_CHAIN_MAX + 1, ERR_LIMIT },
        { "none", "", "", 0, ERR_INVALID },
        { "junk", "junk", "", 0, ERR_INVALID },
        { "the last one cut", "", "-----BEGIN CERTIFICATE-----\nMIIB\n", 1, ERR_INVALID },
        { "the last one damaged", "",
          "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 1, ERR_INVALID },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        STACK_OF(X509) *chain = NULL;
        struct err_info info;
        struct buf pem;
        buf_init(&pem, CERT_PEM_MAX);
        buf_add_str(&pem, CASES[i].before);
        for (unsigned k = 0; k < CASES[i].n; k++)
            assert_int_equal(cert_to_pem(cert, &pem), ERR_OK);
        buf_add_str(&pem, CASES[i].after);
        enum err e = cert_chain_parse(&chain, buf_span(&pem), &info);
        if (e != CASES[i].want || (e == ERR_OK && sk_X509_num(chain) != (int)CASES[i].n) ||
            (e != ERR_OK && chain != NULL))
            fail_msg("%s: %s", CASES[i].why, err_name(e));
        sk_X509_pop_free(chain, X509_free);
        buf_clear(&pem);
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = { T(test_identity), T(test_chains) };
#undef T
    return cmocka_run_group_tests(tests, NULL, NULL);
}
