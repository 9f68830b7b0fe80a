/* How often a program that starts again and again may report, as a table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/core/pace.h"
#include "common/base/attr.h"

#define NOW INT64_C(1800000000)

static void test_wait(void **state)
{
    (void)state;
    static const struct {
        const char *why;
        struct pace pace;
        int64_t now_s, want;
    } CASES[] = {
        { "never started", { 0, 0 }, NOW, 0 },
        { "never started, and no clock", { 0, 0 }, 10, 0 },
        { "the second start", { 1, NOW }, NOW, 0 },
        { "the third", { 2, NOW }, NOW, 0 },
        { "the fourth waits", { 3, NOW }, NOW, 60 },
        { "since the one before, not since now", { 3, NOW - 45 }, NOW, 15 },
        { "which may be long enough ago", { 3, NOW - 61 }, NOW, 0 },
        { "5 units", { 4, NOW }, NOW, 300 },
        { "15 units", { 5, NOW }, NOW, 900 },
        { "and no longer", { 1000, NOW }, NOW, 900 },
        { "an hour of calm", { 1000, NOW - 3600 }, NOW, 0 },
        { "the clock was ahead, or is behind now", { 1000, NOW + 86400 }, NOW, 60 },
        { "no clock at all", { 1000, 30 }, 35, 60 },
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        int64_t got = pace_wait_s(&CASES[i].pace, CASES[i].now_s, 60);
        if (got != CASES[i].want)
            fail_msg("%s: %lld", CASES[i].why, (long long)got);
    }
}

/* A program that ends a second after its start, for a day: what the service gets of it. */
static void test_crash_loop(void **state)
{
    struct pace pace = { 0 };
    unsigned reports = 0;
    (void)state;
    for (int64_t now_s = NOW; now_s < NOW + 86400; now_s++) {
        if (pace_wait_s(&pace, now_s, 60) == 0) {
            pace_note(&pace, now_s, 60);
            reports++;
        }
    }
    assert_in_range(reports, 90, 102);
}

static void test_note(void **state)
{
    struct pace pace = { 5, NOW };
    (void)state;
    pace_note(&pace, NOW + 3599, 60);
    assert_int_equal(pace.starts, 6);
    pace_note(&pace, NOW + 3599 + 3600, 60);
    assert_int_equal(pace.starts, 1);
    assert_int_equal(pace.started_at, NOW + 3599 + 3600);
    pace.starts = 1000;
    pace_note(&pace, NOW + 7200, 60);
    assert_int_equal(pace.starts, 1000);
}

static void test_least(void **state)
{
    (void)state;
    assert_int_equal(pace_least_ms(60), 3000);
    assert_int_equal(pace_least_ms(86400), 3000);
    assert_int_equal(pace_least_ms(1), 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wait),
        cmocka_unit_test(test_crash_loop),
        cmocka_unit_test(test_note),
        cmocka_unit_test(test_least),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
