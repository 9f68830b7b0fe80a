#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "provisiond/core/oidcdoc.h"

static void the_document_is_below_the_issuer(void **state)
{
    char url[OIDCDOC_URL_MAX], longest[OIDCDOC_URL_MAX];
    (void)state;
    assert_int_equal(oidcdoc_url(url, "https://id.example"), ERR_OK);
    assert_string_equal(url, "https://id.example/.well-known/openid-configuration");
    assert_int_equal(oidcdoc_url(url, "https://id.example/tenant/"), ERR_OK);
    assert_string_equal(url, "https://id.example/tenant/.well-known/openid-configuration");
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    assert_int_equal(oidcdoc_url(url, longest), ERR_LIMIT);
}

#define ISSUER "\"issuer\":\"https://id.example\""

static void the_key_set_is_the_one_that_the_issuer_names(void **state)
{
    static const struct {
        const char *why, *text, *want; /* NULL: refused */
    } CASES[] = {
        { "as it should be", "{" ISSUER ",\"jwks_uri\":\"https://keys.example/a?b\",\"x\":[]}",
          "https://keys.example/a?b" },
        { "another issuer's", "{\"issuer\":\"https://evil\",\"jwks_uri\":\"https://a/\"}", NULL },
        { "with a slash more", "{\"issuer\":\"https://id.example/\",\"jwks_uri\":\"https://a/\"}",
          NULL },
        { "no issuer", "{\"jwks_uri\":\"https://a/\"}", NULL },
        { "no key set", "{" ISSUER "}", NULL },
        { "a key set over plain HTTP", "{" ISSUER ",\"jwks_uri\":\"http://a/\"}", NULL },
        { "a file", "{" ISSUER ",\"jwks_uri\":\"file:///etc/passwd\"}", NULL },
        { "a line break", "{" ISSUER ",\"jwks_uri\":\"https://a/\\r\\nX: y\"}", NULL },
        { "a NUL", "{" ISSUER ",\"jwks_uri\":\"https://a/\\u0000b\"}", NULL },
        { "a number", "{" ISSUER ",\"jwks_uri\":5}", NULL },
        { "twice", "{" ISSUER "," ISSUER ",\"jwks_uri\":\"https://a/\"}", NULL },
        { "a list", "[]", NULL },
        { "nothing", "", NULL },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        char url[OIDCDOC_URL_MAX] = "";
        struct err_info info;
        enum err e = oidcdoc_parse(url, span_str(CASES[i].text), "https://id.example", &info);
        if (e != (CASES[i].want != NULL ? ERR_OK : ERR_INVALID))
            fail_msg("%s: %s", CASES[i].why, err_name(e));
        assert_string_equal(url, CASES[i].want != NULL ? CASES[i].want : "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_document_is_below_the_issuer),
        cmocka_unit_test(the_key_set_is_the_one_that_the_issuer_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
