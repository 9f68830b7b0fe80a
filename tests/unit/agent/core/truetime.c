/* Case 43 of the list of faults: what time a device takes it to be, whatever its clock says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/core/truetime.h"
#include "common/base/attr.h"

#define NOW INT64_C(1800000000) /* 2027-01-15 */
#define DAY INT64_C(86400)
#define YEAR (365 * DAY)
#define BUILT (NOW - 100 * DAY)
#define BOOT_MS INT64_C(7000)

static const struct {
    const char *why;
    int64_t date_s;  /* the service's word at BOOT_MS; 0: none */
    int64_t later_s; /* since then, by the clock that cannot be set */
    int64_t wall_s, want_s;
} CASES[] = {
    { "nothing was heard: the clock", 0, 10, NOW + 10, NOW + 10 },
    { "nothing was heard, however wrong it is", 0, 10, NOW + 10 * YEAR, NOW + 10 * YEAR },
    { "both agree: the clock", NOW, 10, NOW + 12, NOW + 12 },
    { "minutes off: the clock", NOW, 10, NOW + 10 + 300, NOW + 310 },
    { "more: the service's", NOW, 10, NOW + 10 + 301, NOW + 10 },
    { "minutes behind: the clock", NOW, 10, NOW + 10 - 300, NOW - 290 },
    { "more", NOW, 10, NOW + 10 - 301, NOW + 10 },
    { "ten years ahead", NOW, 3600, NOW + 10 * YEAR, NOW + 3600 },
    { "1970", NOW, 3600, 12, NOW + 3600 },
    { "set back for a month: what ended meanwhile has ended", NOW, 30 * DAY, NOW, NOW + 30 * DAY },
    { "the quartz and the time server part within a year", NOW, YEAR, NOW + YEAR - 6600,
      NOW + YEAR - 6600 },
    { "ahead, and the service was heard lately", NOW, TRUETIME_TRUST_S - 1, NOW + YEAR,
      NOW + TRUETIME_TRUST_S - 1 },
    { "ahead, and no word since: a machine that was paused", NOW, TRUETIME_TRUST_S, NOW + YEAR,
      NOW + YEAR },
    { "behind is wrong, however long ago the word was", NOW, YEAR, NOW, NOW + YEAR },
    { "a date from before this program is no word", BUILT - 1, 10, NOW, NOW },
    { "one of its day is", BUILT, 10, NOW, BUILT + 10 },
};

static void test_now(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct truetime t = { .built_s = BUILT };
        (void)truetime_hear(&t, CASES[i].date_s, (struct truetime_clocks){ NOW, BOOT_MS });
        const struct truetime_clocks at = { CASES[i].wall_s, BOOT_MS + CASES[i].later_s * 1000 };
        int64_t got_s = truetime_now(&t, at);
        if (got_s != CASES[i].want_s)
            fail_msg("%s: %lld, not %lld", CASES[i].why, (long long)(got_s - NOW),
                     (long long)(CASES[i].want_s - NOW));
    }
}

/* The service itself was wrong for a while: its next word is as good as none before it. */
static void test_the_last_word_counts(void **state)
{
    struct truetime t = { .built_s = BUILT };
    (void)state;
    assert_true(truetime_hear(&t, NOW + YEAR, (struct truetime_clocks){ NOW, BOOT_MS }));
    assert_int_equal(truetime_now(&t, (struct truetime_clocks){ NOW, BOOT_MS }), NOW + YEAR);
    assert_true(truetime_hear(&t, NOW, (struct truetime_clocks){ NOW, BOOT_MS }));
    assert_int_equal(truetime_now(&t, (struct truetime_clocks){ NOW, BOOT_MS }), NOW);
    assert_false(truetime_hear(&t, BUILT - 1, (struct truetime_clocks){ NOW, BOOT_MS }));
    assert_int_equal(truetime_now(&t, (struct truetime_clocks){ NOW, BOOT_MS }), NOW);
}

/* At the edge it is the fraction of a second that decides: not each time anew. */
static void test_no_change_of_mind(void **state)
{
    static const struct {
        const char *why;
        int64_t off_s;
        bool off;
    } ROWS[] = {
        { "right", 0, false },
        { "near", 300, false },
        { "a second more", 301, true },
        { "and less", 300, true },
        { "still", 241, true },
        { "back", 240, false },
        { "and nearly away", 300, false },
        { "behind", -301, true },
        { "still", -241, true },
        { "back", -240, false },
    };
    (void)state;
    for (unsigned heard = 0; heard < 2; heard++) {
        struct truetime t = { .built_s = BUILT };
        assert_true(truetime_hear(&t, NOW, (struct truetime_clocks){ NOW, BOOT_MS }));
        for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
            const struct truetime_clocks at = { NOW + ROWS[i].off_s, BOOT_MS };
            if (heard == 1)
                assert_true(truetime_hear(&t, NOW, at));
            else
                truetime_look(&t, at);
            if ((truetime_now(&t, at) != at.wall_s) != ROWS[i].off)
                fail_msg("%zu, %s", i, ROWS[i].why);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_now),
        cmocka_unit_test(test_the_last_word_counts),
        cmocka_unit_test(test_no_change_of_mind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
