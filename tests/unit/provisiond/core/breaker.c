#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "provisiond/core/breaker.h"

/* Begins a request where one may. */
static bool may_begin(struct breaker *b, int64_t now_ms)
{
    bool may = breaker_allows(b, now_ms);
    if (may)
        breaker_begin(b, now_ms);
    return may;
}

static void fail_n(struct breaker *b, int n, int64_t now_ms)
{
    for (int i = 0; i < n; i++)
        breaker_fail(b, now_ms, 0, 0);
}

static void opens_after_a_run_and_probes(void **state)
{
    struct breaker b = { 0 };
    (void)state;
    fail_n(&b, 4, 0);
    assert_true(may_begin(&b, 0));
    breaker_succeed(&b); /* the run is broken */
    fail_n(&b, 4, 0);
    assert_true(may_begin(&b, 0));
    fail_n(&b, 1, 0);
    assert_false(may_begin(&b, 0));
    assert_false(may_begin(&b, 29999));
    assert_true(may_begin(&b, 30000));  /* one */
    assert_false(may_begin(&b, 30000)); /* not two */
    breaker_succeed(&b);
    assert_true(may_begin(&b, 30000));
    assert_int_equal(b.trips, 0);
}

static void failed_probes_wait_longer(void **state)
{
    static const int64_t WAITS_MS[] = { 30000, 60000, 120000, 240000, 480000, 900000, 900000 };
    struct breaker b = { 0 };
    int64_t now = 1000;
    (void)state;
    fail_n(&b, 5, now);
    for (unsigned i = 0; i < sizeof WAITS_MS / sizeof WAITS_MS[0]; i++) {
        assert_false(may_begin(&b, now + WAITS_MS[i] - 1));
        now += WAITS_MS[i];
        assert_true(may_begin(&b, now));
        fail_n(&b, 1, now);
    }
    assert_int_equal(b.open_since_ms, 1000);
}

static void late_failures_change_nothing(void **state)
{
    struct breaker b = { 0 };
    (void)state;
    fail_n(&b, 5, 0);
    fail_n(&b, 500, 1000); /* what was under way at the CA when it went away */
    assert_int_equal(b.trips, 1);
    assert_true(may_begin(&b, 30000));
    /* a probe that reports nothing is followed by another */
    assert_false(may_begin(&b, 30000 + 119999));
    assert_true(may_begin(&b, 30000 + 120000));
}

static void the_ca_may_ask_for_more(void **state)
{
    struct breaker b = { 0 };
    (void)state;
    fail_n(&b, 4, 0);
    breaker_fail(&b, 0, 600, UINT32_MAX);
    assert_false(may_begin(&b, 599999));
    assert_true(may_begin(&b, 600000));
    struct breaker c = { 0 }; /* absurd: a day at most */
    fail_n(&c, 4, 0);
    breaker_fail(&c, 0, INT64_MAX, 0);
    assert_true(may_begin(&c, (int64_t)86400 * 1000));
}

static void nodes_probe_at_different_times(void **state)
{
    struct breaker a = { 0 }, b = { 0 };
    (void)state;
    fail_n(&a, 4, 0);
    fail_n(&b, 4, 0);
    breaker_fail(&a, 0, 0, 0);
    breaker_fail(&b, 0, 0, 1023);
    assert_true(b.probe_at_ms > a.probe_at_ms + 10000);
    assert_true(b.probe_at_ms <= 45000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_after_a_run_and_probes),
        cmocka_unit_test(failed_probes_wait_longer),
        cmocka_unit_test(late_failures_change_nothing),
        cmocka_unit_test(the_ca_may_ask_for_more),
        cmocka_unit_test(nodes_probe_at_different_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
