/* How long to wait, as a table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/core/backoff.h"
#include "common/base/attr.h"

static void test_delay(void **state)
{
    (void)state;
    static const struct {
        const char *why;
        unsigned attempts;
        int64_t unit_s, life_s;
        uint32_t random;
        int64_t want;
    } CASES[] = {
        { "no failure, no wait", 0, 60, 0, 1023, 0 },
        { "1 m", 1, 60, 0, 0, 60 },
        { "5 m", 2, 60, 0, 0, 300 },
        { "15 m", 3, 60, 0, 0, 900 },
        { "1 h", 4, 60, 0, 0, 3600 },
        { "4 h", 5, 60, 0, 0, 14400 },
        { "and no longer", 4000000000u, 60, 0, 0, 14400 },
        { "up to a quarter more", 1, 60, 0, 1023, 74 },
        { "only the low bits of random count", 1, 60, 0, 1024, 60 },
        { "90 days: no cap", 5, 60, 90 * 86400, 0, 14400 },
        { "one day: at most a sixteenth", 5, 60, 86400, 0, 5400 },
        { "120 seconds", 5, 60, 120, 0, 7 },
        { "never under 5 seconds by the cap", 5, 60, 10, 0, 5 },
        { "a unit of one second", 3, 1, 0, 0, 15 },
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        int64_t got =
            backoff_delay_s(CASES[i].attempts, CASES[i].unit_s, CASES[i].life_s, CASES[i].random);
        if (got != CASES[i].want)
            fail_msg("%s: %lld", CASES[i].why, (long long)got);
    }
}

static void test_remaining(void **state)
{
    (void)state;
    assert_int_equal(backoff_remaining_s(100, 100, 50), 0);
    assert_int_equal(backoff_remaining_s(0, 100, 50), 0);
    assert_int_equal(backoff_remaining_s(120, 100, 50), 20);
    assert_int_equal(backoff_remaining_s(INT64_C(4000000000), 100, 50),
                     50); /* the clock was ahead */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_delay),
        cmocka_unit_test(test_remaining),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
