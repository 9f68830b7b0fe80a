#include "provisiond/acme/chainpick.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/pki/cert.h"
#include "tests/lib/testcert.h"

#define BASE "https://ca.example:14000/cert/7"

static void test_alternate(void **state)
{
    static const struct {
        const char *why, *link, *want;
    } CASES[] = {
        { "absolute", "<https://ca.example/cert/7/1>;rel=\"alternate\"",
          "https://ca.example/cert/7/1" },
        { "a path", "</cert/7/1>; rel=\"alternate\"", "https://ca.example:14000/cert/7/1" },
        { "without quotes", "<https://ca.example/1>; title=x; rel=alternate",
          "https://ca.example/1" },
        { "another relation", "<https://ca.example/dir>;rel=\"index\"", NULL },
        { "a longer word", "<https://ca.example/dir>;rel=\"alternates\"", NULL },
        { "no relation", "<https://ca.example/dir>", NULL },
        { "no target", "rel=\"alternate\"", NULL },
        { "open", "<https://ca.example/dir; rel=\"alternate\"", NULL },
        { "nothing", "", NULL },
    };
    char out[ISSUER_URL_MAX], huge[2 * ISSUER_URL_MAX];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        bool found = chainpick_alternate(CASES[i].link, BASE, out);
        if (found != (CASES[i].want != NULL) || (found && strcmp(out, CASES[i].want) != 0))
            fail_msg("%s", CASES[i].why);
    }
    (void)snprintf(huge, sizeof huge, "<https://ca.example/%0*d>;rel=\"alternate\"", ISSUER_URL_MAX,
                   1);
    assert_false(chainpick_alternate(huge, BASE, out));
}

static void test_matches(void **state)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = testcert_new(key, "DNS:a.example", 0, 60);
    struct buf pem;
    (void)state;
    buf_init(&pem, CERT_PEM_MAX);
    assert_int_equal(cert_to_pem(cert, &pem), ERR_OK);
    assert_true(chainpick_matches(buf_span(&pem), "test"));
    assert_false(chainpick_matches(buf_span(&pem), "tes"));
    assert_false(chainpick_matches(buf_span(&pem), "test2"));
    assert_false(chainpick_matches(buf_span(&pem), ""));
    assert_false(chainpick_matches(span_str("junk"), "test"));
    buf_clear(&pem);
    X509_free(cert);
    EVP_PKEY_free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alternate),
        cmocka_unit_test(test_matches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
