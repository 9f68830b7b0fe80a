#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/attr.h"
#include "provisiond/core/schedule.h"

#define NOW ((int64_t)1800000000)
#define D ((int64_t)86400)

static void orders_find_their_place(void **state)
{
    /* a certificate of 90 days; danger begins 22.5 days before its end */
    static const struct {
        const char *why;
        struct schedule_cert cert;
        struct schedule_policy policy;
        struct schedule_place want;
    } CASES[] = {
        { "a first certificate",
          { .exists = false },
          { 25, true },
          { LANE_NEW, NOW, true, false, 0, 0, 0 } },
        { "in the window: exempt there, and due before it ends",
          { true, true, true, NOW - 60 * D, NOW + 30 * D, NOW - D, NOW + D },
          { 25, true },
          { LANE_RENEWAL, NOW + D, false, true, NOW - D, NOW + D, NOW + 30 * D - 90 * D / 4 } },
        { "the window ended: revoked, or we are late",
          { true, true, true, NOW - 10 * D, NOW + 80 * D, NOW - 3600, NOW - 1800 },
          { 25, true },
          { LANE_EMERGENCY, NOW + 80 * D, false, true, NOW - 3600, NOW - 1800,
            NOW + 80 * D - 90 * D / 4 } },
        { "no window: before the danger zone",
          { true, true, true, NOW - 60 * D, NOW + 30 * D, 0, 0 },
          { 25, true },
          { LANE_RENEWAL, NOW + 30 * D - 90 * D / 4, false, true, 0, 0,
            NOW + 30 * D - 90 * D / 4 } },
        { "a window that lies too late is no reason to wait",
          { true, true, true, NOW - 60 * D, NOW + 30 * D, NOW + 28 * D, NOW + 29 * D },
          { 25, true },
          { LANE_RENEWAL, NOW + 30 * D - 90 * D / 4, false, true, NOW + 28 * D, NOW + 29 * D,
            NOW + 30 * D - 90 * D / 4 } },
        { "in danger: the first CA has an hour, then the next is asked",
          { true, true, true, NOW - 80 * D, NOW + 10 * D, 0, 0 },
          { 25, true },
          { LANE_EMERGENCY, NOW + 10 * D, false, true, 0, 0, NOW + 3600 } },
        { "nearly over: a quarter of what is left",
          { true, true, true, NOW - 90 * D, NOW + 400, 0, 0 },
          { 25, true },
          { LANE_EMERGENCY, NOW + 400, false, true, 0, 0, NOW + 100 } },
        { "of another CA: never replaces, and counts as new",
          { true, false, true, NOW - 60 * D, NOW + 30 * D, NOW - D, NOW + D },
          { 25, true },
          { LANE_RENEWAL, NOW + D, true, false, 0, 0, NOW + 30 * D - 90 * D / 4 } },
        { "a CA that counts renewals as new",
          { true, true, true, NOW - 60 * D, NOW + 30 * D, 0, 0 },
          { 25, false },
          { LANE_RENEWAL, NOW + 30 * D - 90 * D / 4, true, true, 0, 0,
            NOW + 30 * D - 90 * D / 4 } },
        { "expired: never replaces; the names are still known to the CA",
          { true, true, true, NOW - 100 * D, NOW - 10 * D, NOW - 42 * D, NOW - 40 * D },
          { 25, true },
          { LANE_RENEWAL, NOW, false, false, 0, 0, 0 } },
        { "off for so long that it is as new",
          { true, true, true, NOW - 400 * D, NOW - 310 * D, 0, 0 },
          { 25, true },
          { LANE_NEW, NOW, true, false, 0, 0, 0 } },
        { "no name for it in ARI",
          { true, true, false, NOW - 60 * D, NOW + 30 * D, 0, 0 },
          { 25, true },
          { LANE_RENEWAL, NOW + 30 * D - 90 * D / 4, false, false, 0, 0,
            NOW + 30 * D - 90 * D / 4 } },
        { "failover switched off",
          { true, true, true, NOW - 80 * D, NOW + 10 * D, 0, 0 },
          { 0, true },
          { LANE_RENEWAL, NOW + 10 * D, false, true, 0, 0, 0 } },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct schedule_place got;
        const struct schedule_place *want = &CASES[i].want;
        schedule_place(&got, &CASES[i].cert, &CASES[i].policy, NOW);
        print_message("%s\n", CASES[i].why);
        assert_int_equal(got.lane, want->lane);
        assert_int_equal(got.deadline_at, want->deadline_at);
        assert_int_equal(got.pays, want->pays);
        assert_int_equal(got.replaces, want->replaces);
        assert_int_equal(got.exempt_from, want->exempt_from);
        assert_int_equal(got.exempt_until, want->exempt_until);
        assert_int_equal(got.failover_at, want->failover_at);
    }
}

static void lanes_have_names(void **state)
{
    (void)state;
    assert_string_equal(lane_name(LANE_EMERGENCY), "emergency");
    assert_string_equal(lane_name(LANE_NEW), "new");
    assert_string_equal(lane_name((enum lane)9), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(orders_find_their_place),
        cmocka_unit_test(lanes_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
