#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"

static void test_appends(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b, 1000);
    assert_string_equal(buf_str(&b), "");
    assert_int_equal(buf_span(&b).len, 0);
    buf_add_str(&b, "ab");
    buf_add_fmt(&b, "%d-%s", 7, "x");
    buf_add_span(&b, span_str("cd"));
    buf_add(&b, NULL, 0);
    assert_string_equal(buf_str(&b), "ab7-xcd");
    buf_drop(&b, 3);
    assert_string_equal(buf_str(&b), "-xcd");
    buf_drop(&b, 4);
    assert_string_equal(buf_str(&b), "");
    assert_int_equal(buf_error(&b), ERR_OK);
    buf_clear(&b);
    assert_null(b.p);
}

static void test_cap_is_exact_and_sticky(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b, 4);
    buf_add_str(&b, "abcd");
    assert_int_equal(buf_error(&b), ERR_OK);
    buf_add_str(&b, "e");
    assert_int_equal(buf_error(&b), ERR_LIMIT);
    assert_string_equal(buf_str(&b), "abcd");
    buf_drop(&b, 4);
    buf_add_str(&b, "f"); /* a gap in the middle would be worse than an end */
    assert_int_equal(b.len, 0);
    assert_int_equal(buf_error(&b), ERR_LIMIT);
    buf_reset(&b);
    buf_add_fmt(&b, "%s", "abcde");
    assert_int_equal(buf_error(&b), ERR_LIMIT);
    buf_wipe(&b);
    assert_int_equal(buf_error(&b), ERR_OK);
    assert_int_equal(b.max, 4);
}

static void test_growth(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b, 100000);
    for (int i = 0; i < 100000; i++)
        buf_add(&b, &"0123456789"[i % 10], 1);
    assert_int_equal(buf_error(&b), ERR_OK);
    for (size_t i = 0; i < b.len; i++)
        assert_int_equal(b.p[i], '0' + (int)(i % 10));
    assert_int_equal(b.p[b.len], 0);
    buf_wipe(&b);
}

static void test_take(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b, 10);
    char *empty = buf_take(&b);
    assert_string_equal(empty, "");
    buf_add_str(&b, "abc");
    char *text = buf_take(&b);
    assert_string_equal(text, "abc");
    assert_int_equal(b.len, 0);
    assert_null(b.p);
    free(text);
    free(empty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_appends),
        cmocka_unit_test(test_cap_is_exact_and_sticky),
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_take),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
