#include "provisiond/acme/nonce.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

static void test_newest_first_and_bounded(void **state)
{
    struct nonce_pool pool = { 0 };
    char text[NONCE_TEXT_MAX];
    (void)state;
    assert_false(nonce_take(&pool, text, 0));
    for (int i = 0; i < NONCE_POOL_MAX + 3; i++) {
        (void)snprintf(text, sizeof text, "nonce-%d", i);
        nonce_put(&pool, text, i);
    }
    for (int i = NONCE_POOL_MAX + 2; i >= 3; i--) {
        char want[32];
        (void)snprintf(want, sizeof want, "nonce-%d", i);
        assert_true(nonce_take(&pool, text, 100));
        assert_string_equal(text, want);
    }
    assert_false(nonce_take(&pool, text, 100));
}

static void test_old_ones_are_forgotten(void **state)
{
    struct nonce_pool pool = { 0 };
    char text[NONCE_TEXT_MAX];
    (void)state;
    nonce_put(&pool, "a", 1000);
    nonce_put(&pool, "b", 2000);
    assert_true(nonce_take(&pool, text, 1999 + NONCE_LIFE_MS));
    assert_string_equal(text, "b");
    assert_false(nonce_take(&pool, text, 1999 + NONCE_LIFE_MS));
}

static void test_odd_shapes_are_refused(void **state)
{
    char longest[NONCE_TEXT_MAX + 1];
    memset(longest, 'A', sizeof longest);
    longest[NONCE_TEXT_MAX] = 0;
    const char *const odd[] = {
        "", "a b", "a\"b", "a=", "a+b", "a/b", "caf\xc3\xa9", longest, NULL
    };
    struct nonce_pool pool = { 0 };
    (void)state;
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++)
        nonce_put(&pool, odd[i], 0);
    assert_int_equal(pool.n, 0);
    nonce_put(&pool, longest + 1, 0); /* one shorter fits */
    assert_int_equal(pool.n, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_newest_first_and_bounded),
        cmocka_unit_test(test_old_ones_are_forgotten),
        cmocka_unit_test(test_odd_shapes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
