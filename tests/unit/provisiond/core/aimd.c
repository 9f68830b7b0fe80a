#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "provisiond/core/aimd.h"

static void grows_fast_until_it_stumbles(void **state)
{
    struct aimd a;
    (void)state;
    aimd_init(&a, 2000);
    assert_int_equal(a.limit, 64);
    for (int i = 0; i < 1936; i++)
        aimd_succeed(&a);
    assert_int_equal(a.limit, 2000);
    aimd_succeed(&a);
    assert_int_equal(a.limit, 2000); /* never more */
}

static void halves_once_for_one_overload(void **state)
{
    struct aimd a;
    (void)state;
    aimd_init(&a, 64);
    for (int i = 0; i < 50; i++)
        aimd_fail(&a, 100); /* all of one moment */
    assert_int_equal(a.limit, 32);
    for (int i = 0; i < 31; i++)
        aimd_succeed(&a);
    assert_int_equal(a.limit, 32);
    aimd_succeed(&a); /* a whole round went well */
    assert_int_equal(a.limit, 33);
    aimd_fail(&a, 10100);
    assert_int_equal(a.limit, 16);
    for (int i = 0; i < 100; i++)
        aimd_fail(&a, 20100 + i * 10000);
    assert_int_equal(a.limit, 1); /* never none */
}

static void starts_within_a_small_maximum(void **state)
{
    struct aimd a;
    (void)state;
    aimd_init(&a, 3);
    assert_int_equal(a.limit, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_fast_until_it_stumbles),
        cmocka_unit_test(halves_once_for_one_overload),
        cmocka_unit_test(starts_within_a_small_maximum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
