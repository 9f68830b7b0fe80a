#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "provisiond/core/order.h"

static void every_open_state_has_a_way_out_and_no_final_one(void **state)
{
    (void)state;
    for (unsigned s = ORDER_QUEUED; s < ORDER_STATE_N; s++) {
        unsigned ways = 0;
        for (unsigned ev = 0; ev < ORDER_EVENT_N; ev++) {
            enum order_state to = order_next((enum order_state)s, (enum order_event)ev);
            assert_in_range(to, 0, ORDER_STATE_N - 1);
            ways += to != ORDER_ILLEGAL && to != (enum order_state)s;
        }
        if (order_is_final((enum order_state)s))
            assert_int_equal(ways, 0);
        else
            assert_true(ways > 0);
    }
}

static void every_open_state_can_be_canceled_lost_and_finished(void **state)
{
    (void)state;
    for (unsigned s = ORDER_QUEUED; s < ORDER_STATE_N; s++) {
        enum order_state from = (enum order_state)s;
        if (order_is_final(from))
            continue;
        assert_int_equal(order_next(from, ORDER_EV_CANCEL), ORDER_CANCELED);
        if (from != ORDER_QUEUED) {
            assert_int_equal(order_next(from, ORDER_EV_LOST), ORDER_QUEUED);
            assert_int_equal(order_next(from, ORDER_EV_REFUSED), ORDER_INVALID);
        }
        /* DONE after DONE ends in a certificate: no circle without a failure */
        enum order_state at = from == ORDER_QUEUED ? ORDER_ORDERING : from;
        for (unsigned steps = 0; at != ORDER_VALID; steps++) {
            assert_true(steps < ORDER_STATE_N);
            at = order_next(at, ORDER_EV_DONE);
            assert_int_not_equal(at, ORDER_ILLEGAL);
        }
    }
}

static void every_state_is_reached_from_queued(void **state)
{
    bool seen[ORDER_STATE_N] = { false };
    (void)state;
    seen[ORDER_QUEUED] = true;
    for (unsigned round = 0; round < ORDER_STATE_N; round++)
        for (unsigned s = ORDER_QUEUED; s < ORDER_STATE_N; s++)
            for (unsigned ev = 0; seen[s] && ev < ORDER_EVENT_N; ev++)
                seen[order_next((enum order_state)s, (enum order_event)ev)] = true;
    for (unsigned s = ORDER_QUEUED; s < ORDER_STATE_N; s++)
        assert_true(seen[s]);
}

static void outside_the_table_is_illegal(void **state)
{
    (void)state;
    assert_int_equal(order_next(ORDER_STATE_N, ORDER_EV_DUE), ORDER_ILLEGAL);
    assert_int_equal(order_next(ORDER_QUEUED, ORDER_EVENT_N), ORDER_ILLEGAL);
    assert_int_equal(order_next(ORDER_QUEUED, ORDER_EV_DONE), ORDER_ILLEGAL);
    assert_int_equal(order_next(ORDER_FINALIZING, ORDER_EV_READY), ORDER_ILLEGAL);
}

static void challenges_live_only_before_finalize(void **state)
{
    (void)state;
    for (unsigned s = ORDER_QUEUED; s < ORDER_STATE_N; s++)
        assert_int_equal(order_has_challenge((enum order_state)s),
                         s == ORDER_AUTHORIZING || s == ORDER_PUBLISHING || s == ORDER_VALIDATING);
}

static void states_of_requests_are_written(void **state)
{
    static const struct {
        const char *why;
        enum order_state from, to;
        bool want;
    } CASES[] = {
        { "values are put and read back", ORDER_AUTHORIZING, ORDER_PUBLISHING, true },
        { "a chain is fetched", ORDER_FINALIZING, ORDER_DOWNLOADING, false },
        { "an order is begun", ORDER_QUEUED, ORDER_ORDERING, false },
        { "the order's URL", ORDER_ORDERING, ORDER_AUTHORIZING, false },
        { "the order's URL again", ORDER_ORDERING, ORDER_DOWNLOADING, false },
        { "validation is asked for", ORDER_PUBLISHING, ORDER_VALIDATING, false },
        { "a certificate is asked for", ORDER_VALIDATING, ORDER_FINALIZING, false },
        { "the certificate", ORDER_DOWNLOADING, ORDER_VALID, false },
        { "lost on the way", ORDER_AUTHORIZING, ORDER_QUEUED, false },
    };
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        if (order_is_passed(CASES[i].from, CASES[i].to) != CASES[i].want)
            fail_msg("%s", CASES[i].why);
}

static void names_go_both_ways(void **state)
{
    enum order_state s = ORDER_VALID;
    (void)state;
    for (unsigned i = ORDER_QUEUED; i < ORDER_STATE_N; i++) {
        assert_int_equal(order_state_parse(&s, order_state_name((enum order_state)i)), ERR_OK);
        assert_int_equal(s, i);
    }
    assert_int_equal(order_state_parse(&s, "illegal"), ERR_INVALID);
    assert_int_equal(order_state_parse(&s, ""), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_open_state_has_a_way_out_and_no_final_one),
        cmocka_unit_test(every_open_state_can_be_canceled_lost_and_finished),
        cmocka_unit_test(every_state_is_reached_from_queued),
        cmocka_unit_test(outside_the_table_is_illegal),
        cmocka_unit_test(challenges_live_only_before_finalize),
        cmocka_unit_test(states_of_requests_are_written),
        cmocka_unit_test(names_go_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
