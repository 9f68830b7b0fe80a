#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <cmocka.h>

#include "common/base/attr.h"
#include "common/base/clock.h"

static void test_format(void **state)
{
    static const struct {
        int64_t at_s;
        const char *want;
    } CASES[] = {
        { 0, "1970-01-01T00:00:00Z" },
        { 1795232630, "2026-11-21T03:43:50Z" },
        { 951782400, "2000-02-29T00:00:00Z" },
        { 4294967296, sizeof(time_t) > 4 ? "2106-02-07T06:28:16Z" : "" },
    };
    char out[CLOCK_TEXT_MAX];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        clock_format(CASES[i].at_s, out, sizeof out);
        assert_string_equal(out, CASES[i].want);
    }
    clock_format(0, out, 5); /* does not fit: empty, not cut */
    assert_string_equal(out, "");
    clock_format(INT64_MAX, out, sizeof out);
    assert_string_equal(out, "");
}

static void test_clocks(void **state)
{
    (void)state;
    int64_t a = clock_mono_ms(), b = clock_mono_ms();
    assert_true(b >= a);
    assert_true(clock_now_s() > 1700000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_format),
                                        cmocka_unit_test(test_clocks) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
