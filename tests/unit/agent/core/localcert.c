/* The device's own certificate: what is in it, and when it has to be made anew. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include <openssl/x509v3.h>

#include "agent/core/issued.h"
#include "agent/core/localcert.h"
#include "common/base/attr.h"
#include "common/pki/cert.h"
#include "common/pki/key.h"

#define NOW INT64_C(1800000000)
#define DAY INT64_C(86400)

static EVP_PKEY *key, *other;

static int set_up(void **state)
{
    (void)state;
    return key_new(&key, KEY_P256) != ERR_OK || key_new(&other, KEY_P256) != ERR_OK;
}

static int tear_down(void **state)
{
    (void)state;
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
    return 0;
}

static const struct localcert_names NAMES = {
    .host = "nas",
    .n_addresses = 2,
    .addresses = { { 4, { 192, 168, 1, 5 } }, { 6, { 0xfd, [15] = 5 } } },
};

static X509 *make(const struct localcert_names *names, int64_t now_s)
{
    X509 *cert = NULL;
    assert_int_equal(localcert_new(&cert, key, names, now_s), ERR_OK);
    return cert;
}

static void test_what_it_says(void **state)
{
    (void)state;
    X509 *cert = make(&NAMES, NOW);
    assert_int_equal(X509_check_host(cert, "nas.local", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(cert, "localhost", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(cert, "other.local", 0, 0, NULL), 0);
    assert_int_equal(X509_check_ip_asc(cert, "192.168.1.5", 0), 1);
    assert_int_equal(X509_check_ip_asc(cert, "fd00::5", 0), 1);
    assert_int_equal(X509_check_ip_asc(cert, "192.168.1.6", 0), 0);
    assert_int_equal(X509_check_purpose(cert, X509_PURPOSE_SSL_SERVER, 0), 1);
    assert_int_equal(X509_check_ca(cert), 0);
    assert_int_equal(X509_verify(cert, key), 1);
    X509_free(cert);
}

/* Apple: at most 825 days. The last second counts as one. */
static void test_life(void **state)
{
    static const struct {
        const char *why;
        int64_t now_s, from_s;
    } CASES[] = {
        { "a day back", NOW, NOW - DAY },
        { "a clock that lost its time", 0, ISSUED_CLOCK_FLOOR_S - DAY },
        { "years ahead", NOW + 3650 * DAY, NOW + 3649 * DAY },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        int64_t from, to;
        X509 *cert = make(&NAMES, CASES[i].now_s);
        print_message("%s\n", CASES[i].why);
        assert_int_equal(cert_validity(cert, &from, &to), ERR_OK);
        assert_int_equal(from, CASES[i].from_s);
        assert_true(to - from < 825 * DAY);
        X509_free(cert);
    }
}

static void test_when_it_goes_on(void **state)
{
    struct localcert_names fewer = NAMES, more = NAMES, renamed = NAMES, nameless = NAMES;
    (void)state;
    fewer.n_addresses = 1;
    more.addresses[more.n_addresses++] = (struct ip){ 4, { 10, 0, 0, 1 } };
    strcpy(renamed.host, "box");
    nameless.host[0] = 0;
    const struct {
        const char *why;
        const struct localcert_names *names;
        EVP_PKEY *key;
        int64_t now_s;
        bool want;
    } CASES[] = {
        { "as made", &NAMES, key, NOW, true },
        { "an address less", &fewer, key, NOW, true },
        { "an address more", &more, key, NOW, false },
        { "another host name", &renamed, key, NOW, false },
        { "no host name", &nameless, key, NOW, true },
        { "another key", &NAMES, other, NOW, false },
        { "more than a month left", &NAMES, key, NOW + 792 * DAY, true },
        { "less than a month left", &NAMES, key, NOW + 794 * DAY, false },
        { "not valid yet", &NAMES, key, NOW - 2 * DAY, false },
        { "a clock that lost its time", &NAMES, key, 1000, true },
    };
    X509 *cert = make(&NAMES, NOW);
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        print_message("%s\n", CASES[i].why);
        assert_int_equal(localcert_suits(cert, CASES[i].key, CASES[i].names, CASES[i].now_s),
                         CASES[i].want);
    }
    X509_free(cert);
}

static void test_pin_is_of_the_key(void **state)
{
    char a[LOCALCERT_PIN_LEN + 1], b[LOCALCERT_PIN_LEN + 1], c[LOCALCERT_PIN_LEN + 1];
    (void)state;
    assert_int_equal(localcert_pin(key, a), ERR_OK);
    assert_int_equal(localcert_pin(key, b), ERR_OK);
    assert_int_equal(localcert_pin(other, c), ERR_OK);
    assert_int_equal(strlen(a), LOCALCERT_PIN_LEN);
    assert_string_equal(a, b);
    assert_string_not_equal(a, c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_it_says),
        cmocka_unit_test(test_life),
        cmocka_unit_test(test_when_it_goes_on),
        cmocka_unit_test(test_pin_is_of_the_key),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
