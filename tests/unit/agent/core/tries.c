/* How long a question may take: every order of events, on a clock of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/core/tries.h"
#include "common/base/attr.h"

#define EVENTS_MAX 8

static const struct {
    const char *why;
    struct {
        enum tries_event event;
        int64_t after_ms; /* the step before; -1: when the wait is over */
    } events[EVENTS_MAX];
    size_t n;
    enum tries_step last;
    int64_t at_ms; /* of the last step */
    unsigned n_sent;
} ROWS[] = {
    { "silence: RESOLVER_DOWN (case 8)",
      { { TRIES_DUE, 0 }, { TRIES_DUE, -1 }, { TRIES_DUE, -1 } },
      3,
      TRIES_END,
      3000,
      2 },
    { "a closed port: the second refusal counts (case 8)",
      { { TRIES_DUE, 0 }, { TRIES_REFUSED, 1 }, { TRIES_DUE, -1 }, { TRIES_REFUSED, 1 } },
      4,
      TRIES_END,
      1501,
      2 },
    { "a resolver that starts: refused at first, and waited for (case 3)",
      { { TRIES_DUE, 0 }, { TRIES_REFUSED, 1 }, { TRIES_DUE, -1 } },
      3,
      TRIES_SEND,
      1500,
      2 },
    { "no route: at once (case 8)", { { TRIES_NO_WAY, 0 } }, 1, TRIES_END, 0, 0 },
    { "truncated, and TCP that hangs",
      { { TRIES_DUE, 0 }, { TRIES_TRUNCATED, 20 }, { TRIES_DUE, -1 } },
      3,
      TRIES_END,
      3020,
      1 },
    { "truncated at the last moment, and TCP that hangs: the longest of all",
      { { TRIES_DUE, 0 }, { TRIES_DUE, -1 }, { TRIES_TRUNCATED, 1500 }, { TRIES_DUE, -1 } },
      4,
      TRIES_END,
      6000,
      2 },
    { "TCP is refused",
      { { TRIES_DUE, 0 }, { TRIES_TRUNCATED, 20 }, { TRIES_REFUSED, 1 } },
      3,
      TRIES_END,
      21,
      1 },
    { "truncated over TCP, too",
      { { TRIES_DUE, 0 }, { TRIES_TRUNCATED, 20 }, { TRIES_TRUNCATED, 5 } },
      3,
      TRIES_END,
      25,
      1 },
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        struct tries t = { 0 };
        int64_t now_ms = 0, wait_ms = 0, due_ms = 0;
        enum tries_step step = TRIES_WAIT;
        print_message("%s\n", ROWS[i].why);
        for (size_t k = 0; k < ROWS[i].n; k++) {
            int64_t after_ms = ROWS[i].events[k].after_ms;
            assert_int_not_equal(step, TRIES_END);
            now_ms = after_ms < 0 ? due_ms : now_ms + after_ms;
            step = tries_next(&t, ROWS[i].events[k].event, &wait_ms);
            if (step == TRIES_SEND || step == TRIES_TCP)
                due_ms = now_ms + wait_ms;
        }
        assert_int_equal(step, ROWS[i].last);
        assert_int_equal(now_ms, ROWS[i].at_ms);
        assert_int_equal(t.n_sent, ROWS[i].n_sent);
    }
}

/* The longest way from here to the end, each event coming when the wait is all but over. */
static int64_t longest_ms(struct tries t, bool truncates, unsigned depth)
{
    int64_t longest = 0;
    assert_in_range(depth, 0, 4); /* there is an end */
    for (enum tries_event e = TRIES_DUE; e <= TRIES_NO_WAY; e++) {
        struct tries next = t;
        int64_t wait_ms = 0, ms = 0;
        if (e == TRIES_TRUNCATED && !truncates)
            continue;
        enum tries_step step = tries_next(&next, e, &wait_ms);
        if (step == TRIES_SEND || step == TRIES_TCP)
            ms = wait_ms + longest_ms(next, truncates, depth + 1);
        longest = ms > longest ? ms : longest;
    }
    return longest;
}

/* Case 8: RESOLVER_DOWN within 3.5 seconds, and nothing hangs longer than is stated. */
static void test_longest(void **state)
{
    (void)state;
    assert_int_equal(longest_ms((struct tries){ 0 }, false, 0), TRIES_SILENT_MS);
    assert_int_equal(longest_ms((struct tries){ 0 }, true, 0), TRIES_MAX_MS);
    assert_in_range(TRIES_SILENT_MS, 1, 3500);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows),
                                        cmocka_unit_test(test_longest) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
