#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "provisiond/core/cohort.h"

#define NOW ((int64_t)1800000000)

static void an_hour_is_alarmed_once(void **state)
{
    static struct cohort_alarms c;
    (void)state;
    assert_true(cohort_alarm(&c, 7200, NOW));
    assert_false(cohort_alarm(&c, 7201, NOW + 60));
    assert_false(cohort_alarm(&c, 10799, NOW + 21599));
    assert_true(cohort_alarm(&c, 10800, NOW + 60)); /* the next hour */
    assert_true(cohort_alarm(&c, 7200, NOW + 21600));
    assert_true(cohort_alarm(&c, 7200, NOW - 60)); /* the clock was set back */
}

static void a_forgotten_hour_alarms_again(void **state)
{
    static struct cohort_alarms c;
    (void)state;
    assert_true(cohort_alarm(&c, 0, NOW));
    assert_true(cohort_alarm(&c, (int64_t)COHORT_SLOTS * COHORT_S, NOW)); /* takes its slot */
    assert_true(cohort_alarm(&c, 0, NOW));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_hour_is_alarmed_once),
        cmocka_unit_test(a_forgotten_hour_alarms_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
