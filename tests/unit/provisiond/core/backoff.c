#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "provisiond/core/backoff.h"

static void stays_within_a_quarter_of_the_ladder(void **state)
{
    static const struct {
        const char *why;
        int64_t (*fn)(unsigned failures, uint32_t seed);
        unsigned failures;
        int64_t base_s;
    } CASES[] = {
        { "first repeat of a step", backoff_step_s, 1, 1 },
        { "doubles", backoff_step_s, 5, 16 },
        { "last doubling", backoff_step_s, 9, 256 },
        { "cap of a step", backoff_step_s, 10, 300 },
        { "far beyond the cap", backoff_step_s, 4000000000u, 300 },
        { "first fresh order", backoff_order_s, 1, 10 },
        { "second", backoff_order_s, 2, 60 },
        { "a day at the end", backoff_order_s, 5, 86400 },
        { "and no more than that", backoff_order_s, 1000, 86400 },
        { "no failure counts as the first", backoff_order_s, 0, 10 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        for (uint32_t seed = 0; seed < 5000; seed += 7) {
            int64_t s = CASES[i].fn(CASES[i].failures, seed);
            int64_t low = CASES[i].base_s - CASES[i].base_s / 4;
            if (s < 1 || s < low || s > CASES[i].base_s + CASES[i].base_s / 4 + 1)
                fail_msg("%s: %lld s", CASES[i].why, (long long)s);
            assert_int_equal(s, CASES[i].fn(CASES[i].failures, seed));
        }
    }
}

static void spreads_a_fleet(void **state)
{
    int64_t low = INT64_MAX, high = 0;
    (void)state;
    for (uint32_t seed = 0; seed < 1000; seed++) {
        int64_t s = backoff_order_s(5, seed * 2654435761u);
        low = s < low ? s : low;
        high = s > high ? s : high;
    }
    assert_true(high - low > 86400 / 3);
}

static void five_failures_an_hour_are_never_reached(void **state)
{
    (void)state;
    for (uint32_t seed = 0; seed < 1000; seed++) {
        int64_t at = 0;
        unsigned in_first_hour = 1; /* the attempt at the start */
        for (unsigned n = 1; n < 10; n++) {
            at += backoff_order_s(n, seed);
            in_first_hour += at < 3600;
        }
        assert_true(in_first_hour < 5);
    }
}

static void polls_get_slower(void **state)
{
    (void)state;
    for (unsigned n = 1; n < 100; n++)
        assert_true(backoff_poll_s(n) <= backoff_poll_s(n + 1));
    assert_int_equal(backoff_poll_s(0), 1);
    assert_int_equal(backoff_poll_s(1000), 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stays_within_a_quarter_of_the_ladder),
        cmocka_unit_test(spreads_a_fleet),
        cmocka_unit_test(five_failures_an_hour_are_never_reached),
        cmocka_unit_test(polls_get_slower),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
