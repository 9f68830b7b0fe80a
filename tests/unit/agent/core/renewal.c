/* When to renew. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "agent/core/renewal.h"
#include "common/base/attr.h"

#define DAY INT64_C(86400)

static void test_bounds(void **state)
{
    (void)state;
    static const struct {
        const char *why;
        int64_t life_s, earliest_s, latest_s;
    } CASES[] = {
        { "90 days: two thirds", 90 * DAY, 58 * DAY, 60 * DAY },
        { "10 days: two thirds", 10 * DAY, 558000, 576000 },
        { "under 10 days: half", 10 * DAY - 2, 414000, 432000 },
        { "6 days", 6 * DAY, 3 * DAY - 10368, 3 * DAY },
        { "120 seconds", 120, 58, 60 },
        { "one second", 1, 0, 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        for (int k = 0; k < 200; k++) {
            char id[33];
            int64_t from = 1700000000;
            (void)snprintf(id, sizeof id, "%032d", k);
            int64_t at = renewal_at(from, from + CASES[i].life_s, span_str(id)) - from;
            if (at < CASES[i].earliest_s || at > CASES[i].latest_s)
                fail_msg("%s: %lld", CASES[i].why, (long long)at);
        }
    }
}

static void test_spread(void **state)
{
    (void)state;
    int64_t a = renewal_at(0, 90 * DAY, span_str("abcdefghijklmnopqrstuvwxyz234567"));
    int64_t b = renewal_at(0, 90 * DAY, span_str("lj5hrtfeud2cbwn4mk5wnhb4e5m6hh3s"));
    assert_int_not_equal(a, b);
    assert_int_equal(a, renewal_at(0, 90 * DAY, span_str("abcdefghijklmnopqrstuvwxyz234567")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_spread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
