/* Walks the table, and the rows that a restart depends on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/core/lifecycle.h"
#include "common/base/attr.h"

static void test_every_state_has_a_way_out(void **state)
{
    (void)state;
    for (int s = LIFECYCLE_ENROL; s < LIFECYCLE_STATE_N; s++)
        assert_int_equal(lifecycle_is_final((enum lifecycle_state)s), s == LIFECYCLE_GONE);
}

/* Whether `to` can be reached from `from`. */
static bool reaches(enum lifecycle_state from, enum lifecycle_state to)
{
    bool seen[LIFECYCLE_STATE_N] = { 0 };
    seen[from] = true;
    for (bool grew = true; grew;) {
        grew = false;
        for (int s = LIFECYCLE_ENROL; s < LIFECYCLE_STATE_N; s++) {
            for (int ev = 0; seen[s] && ev < LIFECYCLE_EVENT_N; ev++) {
                enum lifecycle_state next =
                    lifecycle_next((enum lifecycle_state)s, (enum lifecycle_event)ev);
                if (next != LIFECYCLE_ILLEGAL && !seen[next])
                    grew = seen[next] = true;
            }
        }
    }
    return seen[to];
}

static void test_every_state_leads_to_a_certificate(void **state)
{
    (void)state;
    for (int s = LIFECYCLE_ENROL; s < LIFECYCLE_GONE; s++) {
        assert_true(reaches((enum lifecycle_state)s, LIFECYCLE_SERVE));
        assert_true(reaches(LIFECYCLE_ENROL, (enum lifecycle_state)s));
    }
}

static void test_no_certificate_without_a_check(void **state)
{
    (void)state;
    for (int s = LIFECYCLE_ENROL; s < LIFECYCLE_STATE_N; s++) {
        for (int ev = 0; ev < LIFECYCLE_EVENT_N; ev++) {
            if (lifecycle_next((enum lifecycle_state)s, (enum lifecycle_event)ev) ==
                LIFECYCLE_SERVE) {
                assert_int_equal(s, LIFECYCLE_INSTALL);
                assert_int_equal(ev, LIFECYCLE_EV_OK);
            }
        }
    }
}

static void test_steps(void **state)
{
    (void)state;
    static const struct {
        const char *why;
        enum lifecycle_state from;
        enum lifecycle_event ev;
        enum lifecycle_state want;
    } CASES[] = {
        { "renewal needs no new enrolment", LIFECYCLE_SERVE, LIFECYCLE_EV_DUE, LIFECYCLE_KEY },
        { "a certificate may come at once", LIFECYCLE_SUBMIT, LIFECYCLE_EV_ISSUED,
          LIFECYCLE_INSTALL },
        { "a full disk: fetched again", LIFECYCLE_INSTALL, LIFECYCLE_EV_FAILED, LIFECYCLE_SUBMIT },
        { "a wrong certificate: another key", LIFECYCLE_INSTALL, LIFECYCLE_EV_REKEY,
          LIFECYCLE_KEY },
        { "the service lost its database", LIFECYCLE_POLL, LIFECYCLE_EV_UNKNOWN, LIFECYCLE_ENROL },
        { "the service lost the order", LIFECYCLE_POLL, LIFECYCLE_EV_NO_ORDER, LIFECYCLE_SUBMIT },
        { "nothing is issued while serving", LIFECYCLE_SERVE, LIFECYCLE_EV_ISSUED,
          LIFECYCLE_ILLEGAL },
        { "gone is gone", LIFECYCLE_GONE, LIFECYCLE_EV_RENEW, LIFECYCLE_ILLEGAL },
        { "not a state", LIFECYCLE_STATE_N, LIFECYCLE_EV_DUE, LIFECYCLE_ILLEGAL },
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        if (lifecycle_next(CASES[i].from, CASES[i].ev) != CASES[i].want)
            fail_msg("%s", CASES[i].why);
    }
}

static void test_resume(void **state)
{
    (void)state;
    static const struct {
        const char *why;
        struct lifecycle_facts facts;
        enum lifecycle_state want;
    } CASES[] = {
        { "first start", { LIFECYCLE_ILLEGAL, false, false, false }, LIFECYCLE_ENROL },
        { "journal lost", { LIFECYCLE_ILLEGAL, false, true, false }, LIFECYCLE_ENROL },
        { "killed before the key was stored",
          { LIFECYCLE_KEY, false, false, false },
          LIFECYCLE_KEY },
        { "killed after the key was stored",
          { LIFECYCLE_KEY, true, false, false },
          LIFECYCLE_SUBMIT },
        { "killed while waiting", { LIFECYCLE_POLL, true, true, false }, LIFECYCLE_POLL },
        { "killed after the switch", { LIFECYCLE_POLL, true, true, true }, LIFECYCLE_SERVE },
        { "killed after the switch, handed over at once",
          { LIFECYCLE_SUBMIT, true, true, true },
          LIFECYCLE_SERVE },
        { "pending key lost", { LIFECYCLE_POLL, false, true, false }, LIFECYCLE_KEY },
        { "serving", { LIFECYCLE_SERVE, false, true, false }, LIFECYCLE_SERVE },
        { "certificate lost", { LIFECYCLE_SERVE, false, false, false }, LIFECYCLE_KEY },
        { "forgotten, then started again",
          { LIFECYCLE_GONE, false, false, false },
          LIFECYCLE_ENROL },
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        if (lifecycle_resume(&CASES[i].facts) != CASES[i].want)
            fail_msg("%s", CASES[i].why);
    }
}

static void test_names(void **state)
{
    (void)state;
    for (int s = LIFECYCLE_ENROL; s < LIFECYCLE_STATE_N; s++)
        assert_int_equal(lifecycle_from_name(lifecycle_name((enum lifecycle_state)s)), s);
    assert_int_equal(lifecycle_from_name("none"), LIFECYCLE_ILLEGAL);
    assert_int_equal(lifecycle_from_name(""), LIFECYCLE_ILLEGAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_state_has_a_way_out),
        cmocka_unit_test(test_every_state_leads_to_a_certificate),
        cmocka_unit_test(test_no_certificate_without_a_check),
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
