#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "common/base/base32.h"

/* RFC 4648 s10, in lower case and without padding */
static void test_vectors(void **state)
{
    static const struct {
        const char *plain, *text;
    } CASES[] = { { "", "" },
                  { "f", "my" },
                  { "fo", "mzxq" },
                  { "foo", "mzxw6" },
                  { "foob", "mzxw6yq" },
                  { "fooba", "mzxw6ytb" },
                  { "foobar", "mzxw6ytboi" } };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        char text[32];
        uint8_t out[16];
        size_t len = 99;
        base32_encode(span_str(CASES[i].plain), text);
        assert_string_equal(text, CASES[i].text);
        assert_int_equal(strlen(text), BASE32_LEN(strlen(CASES[i].plain)));
        assert_int_equal(base32_decode(span_str(text), out, sizeof out, &len), ERR_OK);
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
        { "upper case is fine", "MZXW6", 8, ERR_OK },
        { "a digit outside", "mzxw1", 8, ERR_INVALID },
        { "padding", "my======", 8, ERR_INVALID },
        { "one character is no byte", "a", 8, ERR_INVALID },
        { "three are none either", "aaa", 8, ERR_INVALID },
        { "bits left over", "mz", 8, ERR_INVALID },
        { "a space", "mz w6", 8, ERR_INVALID },
        { "too long", "mzxw6", 2, ERR_LIMIT },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        uint8_t out[8];
        size_t len = 99;
        enum err e = base32_decode(span_str(CASES[i].text), out, CASES[i].cap, &len);
        if (e != CASES[i].want || (e != ERR_OK && len != 99))
            fail_msg("%s: %s", CASES[i].why, err_name(e));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_vectors),
                                        cmocka_unit_test(test_refused) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
