#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "common/base/b64url.h"

static void test_vectors(void **state)
{
    static const struct {
        const char *plain, *text;
    } CASES[] = { { "", "" },           { "f", "Zg" },        { "fo", "Zm8" },
                  { "foo", "Zm9v" },    { "foob", "Zm9vYg" }, { "fooba", "Zm9vYmE" },
                  { "\xfb\xff", "-_8" } };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        char text[32];
        uint8_t out[16];
        size_t len = 99;
        b64url_encode(span_str(CASES[i].plain), text);
        assert_string_equal(text, CASES[i].text);
        assert_int_equal(strlen(text), B64URL_LEN(strlen(CASES[i].plain)));
        assert_int_equal(b64url_decode(span_str(text), out, sizeof out, &len), ERR_OK);
        assert_int_equal(len, strlen(CASES[i].plain));
        assert_memory_equal(out, CASES[i].plain, len);
    }
}

static void test_refused(void **state)
{
    static const struct {
        const char *why, *text;
        size_t cap;
        enum err want;
    } CASES[] = {
        { "padding", "Zg==", 8, ERR_INVALID },        { "plain base64", "+/8", 8, ERR_INVALID },
        { "impossible length", "Z", 8, ERR_INVALID }, { "bits left over", "Zh", 8, ERR_INVALID },
        { "a newline", "Zm9\n", 8, ERR_INVALID },     { "too long", "Zm9v", 2, ERR_LIMIT },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        uint8_t out[8];
        size_t len = 99;
        enum err e = b64url_decode(span_str(CASES[i].text), out, CASES[i].cap, &len);
        if (e != CASES[i].want || len != 99)
            fail_msg("%s: %s", CASES[i].why, err_name(e));
    }
}

static void test_append_has_no_seams(void **state)
{
    uint8_t in[200], out[200];
    struct buf b;
    size_t len;
    (void)state;
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (uint8_t)(i * 37);
    for (size_t n = 0; n <= sizeof in; n++) {
        buf_init(&b, 1000);
        b64url_append(&b, (struct span){ in, n });
        assert_int_equal(b.len, B64URL_LEN(n));
        assert_int_equal(b64url_decode(buf_span(&b), out, sizeof out, &len), ERR_OK);
        assert_int_equal(len, n);
        assert_memory_equal(in, out, n);
        buf_clear(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_vectors),
                                        cmocka_unit_test(test_refused),
                                        cmocka_unit_test(test_append_has_no_seams) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
