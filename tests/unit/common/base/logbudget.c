#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/logbudget.h"

static void a_flood_gets_a_few_lines_and_a_count(void **state)
{
    struct logbudget b = { 0 };
    unsigned written = 0, left_out = 99;
    (void)state;
    for (int64_t ms = 5; ms < 1005; ms++)
        written += logbudget_spend(&b, ms, &left_out);
    assert_int_equal(written, LOGBUDGET_LINES);
    assert_int_equal(left_out, 0);
    assert_int_equal(logbudget_take_left_out(&b, 1005), 0); /* the period is not over */
    assert_true(logbudget_spend(&b, 5 + LOGBUDGET_PERIOD_MS, &left_out));
    assert_int_equal(left_out, 1000 - LOGBUDGET_LINES);
    assert_int_equal(logbudget_take_left_out(&b, 10 * LOGBUDGET_PERIOD_MS), 0); /* said already */
}

static void the_end_of_a_flood_is_told(void **state)
{
    struct logbudget b = { 0 };
    unsigned left_out;
    (void)state;
    for (unsigned i = 0; i < LOGBUDGET_LINES + 7; i++)
        assert_int_equal(logbudget_spend(&b, 1, &left_out), i < LOGBUDGET_LINES);
    assert_int_equal(logbudget_take_left_out(&b, 1 + LOGBUDGET_PERIOD_MS), 7);
    assert_int_equal(logbudget_take_left_out(&b, 1 + LOGBUDGET_PERIOD_MS), 0);
}

static void rare_lines_are_all_written(void **state)
{
    struct logbudget b = { 0 };
    unsigned left_out = 99;
    (void)state;
    for (int64_t i = 0; i < 100; i++) {
        assert_true(logbudget_spend(&b, i * LOGBUDGET_PERIOD_MS / LOGBUDGET_LINES, &left_out));
        assert_int_equal(left_out, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flood_gets_a_few_lines_and_a_count),
        cmocka_unit_test(the_end_of_a_flood_is_told),
        cmocka_unit_test(rare_lines_are_all_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
