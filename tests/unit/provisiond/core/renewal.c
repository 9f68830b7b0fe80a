#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "common/base/attr.h"
#include "provisiond/core/renewal.h"

#define NOW ((int64_t)1800000000)
#define H ((int64_t)3600)
#define D ((int64_t)86400)

static struct renewal begun(int64_t age_s, int64_t life_s, uint64_t seed)
{
    struct renewal r = { .not_before = NOW - age_s, .not_after = NOW - age_s + life_s };
    renewal_begin(&r, true, seed, NOW);
    return r;
}

static void without_a_word_of_the_ca(void **state)
{
    enum renewal_why why;
    struct renewal r = begun(0, 90 * D, 0);
    (void)state;
    assert_int_equal(renewal_at(&r, 25, NOW, &why), NOW + 60 * D);
    assert_int_equal(why, RENEWAL_BY_LIFE);
    assert_int_equal(r.poll_at, NOW); /* asked right after issuance */
    r = begun(0, 160 * H, 0);         /* under ten days: half */
    assert_int_equal(renewal_at(&r, 25, NOW, &why), NOW + 80 * H);
    r = begun(0, 90 * D, UINT64_MAX); /* the seed moves it earlier by 2 % of the life at most */
    assert_in_range(renewal_at(&r, 25, NOW, &why), NOW + 60 * D - 90 * D / 50, NOW + 60 * D);
    renewal_begin(&r, false, 0, NOW);
    assert_int_equal(r.poll_at, 0);
}

static void answers_move_the_next_poll(void **state)
{
    static const struct {
        const char *why;
        struct renewal_answer answer;
        int64_t failures;
        int64_t low, high; /* of the seconds until the next poll */
        bool has_window;
    } CASES[] = {
        { "as asked", { RENEWAL_WINDOW, NOW + D, NOW + 2 * D, 21600 }, 0, 21600, 21600, true },
        { "no Retry-After", { RENEWAL_WINDOW, NOW + D, NOW + 2 * D, 0 }, 0, 6 * H, 6 * H, true },
        { "case 18: Retry-After 1", { RENEWAL_WINDOW, NOW + D, NOW + 2 * D, 1 }, 0, 60, 60, true },
        { "case 18: Retry-After 10^9",
          { RENEWAL_WINDOW, NOW + D, NOW + 2 * D, 1000000000 },
          0,
          D,
          D,
          true },
        { "case 18: end before start",
          { RENEWAL_WINDOW, NOW + 2 * D, NOW + D, 60 },
          0,
          6 * H,
          6 * H,
          false },
        { "case 18: end is start",
          { RENEWAL_WINDOW, NOW + D, NOW + D, 60 },
          0,
          6 * H,
          6 * H,
          false },
        { "case 18: 404", { RENEWAL_LONG_TERM, 0, 0, 60 }, 0, 6 * H, 6 * H, false },
        { "first time-out", { RENEWAL_TEMPORARY, 0, 0, 0 }, 0, 60, 75, false },
        { "fourth", { RENEWAL_TEMPORARY, 0, 0, 0 }, 3, 480, 600, false },
        { "the thousandth", { RENEWAL_TEMPORARY, 0, 0, 0 }, 999, 6 * H, 6 * H * 5 / 4, false },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct renewal r = begun(0, 90 * D, 7);
        r.failures = CASES[i].failures;
        print_message("%s\n", CASES[i].why);
        assert_false(renewal_take(&r, &CASES[i].answer, 7, NOW));
        assert_in_range(r.poll_at, NOW + CASES[i].low, NOW + CASES[i].high);
        assert_int_equal(r.window_end != 0, CASES[i].has_window);
        assert_int_equal(r.failures, CASES[i].has_window ? 0 : CASES[i].failures + 1);
    }
}

static void the_instant_is_chosen_once(void **state)
{
    struct renewal r = begun(0, 90 * D, 12345);
    struct renewal_answer a = { RENEWAL_WINDOW, NOW + 59 * D, NOW + 61 * D, 21600 };
    enum renewal_why why;
    (void)state;
    assert_false(renewal_take(&r, &a, 12345, NOW));
    int64_t chosen = r.chosen_at;
    assert_in_range(chosen, a.start, a.end - 1);
    for (int i = 1; i < 100; i++) { /* polls do not draw again */
        assert_false(renewal_take(&r, &a, 12345, NOW + i * 6 * H));
        assert_int_equal(r.chosen_at, chosen);
    }
    assert_int_equal(renewal_at(&r, 25, NOW, &why), chosen);
    assert_int_equal(why, RENEWAL_BY_CA);
    /* case 18: the window moves earlier in mid-life, and the instant with it */
    a.start = NOW + 20 * D;
    a.end = NOW + 22 * D;
    assert_false(renewal_take(&r, &a, 12345, NOW + 10 * D));
    assert_int_equal(r.chosen_at, chosen - 39 * D);
    /* and into the past: now, told once */
    a.start = NOW + 10 * D - 3600;
    a.end = NOW + 10 * D - 1800;
    assert_true(renewal_take(&r, &a, 12345, NOW + 10 * D));
    assert_false(renewal_take(&r, &a, 12345, NOW + 10 * D + 60));
    assert_int_equal(renewal_at(&r, 25, NOW + 10 * D, &why), NOW + 10 * D);
    assert_int_equal(why, RENEWAL_PAST);
}

static void danger_overrides_the_ca(void **state)
{
    struct renewal r = begun(0, 100 * D, 1);
    struct renewal_answer a = { RENEWAL_WINDOW, NOW + 98 * D, NOW + 99 * D, 21600 };
    enum renewal_why why;
    (void)state;
    assert_false(renewal_take(&r, &a, 1, NOW));
    assert_int_equal(renewal_at(&r, 25, NOW, &why), NOW + 75 * D);
    assert_int_equal(why, RENEWAL_IN_DANGER);
}

static void an_ended_certificate_is_not_asked_about(void **state)
{
    static const struct renewal_answer ANSWERS[] = {
        { RENEWAL_WINDOW, NOW, NOW + 1, 21600 },
        { RENEWAL_TEMPORARY, 0, 0, 0 },
        { RENEWAL_LONG_TERM, 0, 0, 0 },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ANSWERS); i++) {
        struct renewal r = begun(90 * D - 30, 90 * D, 1);
        (void)renewal_take(&r, &ANSWERS[i], 1, NOW);
        assert_int_equal(r.poll_at, 0);
    }
}

static void a_fleet_is_spread_evenly(void **state)
{
    /* an eighth of the window, its end, is left for the order to reach the CA */
    struct renewal_answer a = { RENEWAL_WINDOW, NOW + 10000, NOW + 21428, 21600 };
    unsigned n_sentinels = 0;
    unsigned tenth[10] = { 0 };
    (void)state;
    for (int i = 0; i < 20000; i++) {
        char id[40];
        (void)snprintf(id, sizeof id, "device%d", i);
        uint64_t seed = renewal_seed(id, "certificate");
        struct renewal r = begun(0, 90 * D, seed);
        (void)renewal_take(&r, &a, seed, NOW);
        assert_in_range(r.chosen_at, a.start, a.start + 9999);
        tenth[(r.chosen_at - a.start) / 1000]++;
        int64_t check = renewal_check_in_s(&r, seed);
        n_sentinels += renewal_is_sentinel(seed);
        assert_in_range(check, 6 * H * 3 / 4, 6 * H * 5 / 4);
    }
    for (int i = 0; i < 10; i++)
        assert_in_range(tenth[i], 1800, 2200); /* 4.7 standard deviations */
    assert_in_range(n_sentinels, 100, 220);    /* of 20,000, one in 128 */
    /* another certificate of the device is another instant */
    assert_int_not_equal(renewal_seed("device1", "a"), renewal_seed("device1", "b"));
    assert_int_not_equal(renewal_seed("ab", "c"), renewal_seed("a", "bc"));
}

static void short_lives_are_checked_often(void **state)
{
    struct renewal r = begun(0, 120, 1);
    (void)state;
    assert_in_range(renewal_check_in_s(&r, 1), 3, 9);
}

/* case 9: certificates of 120 s, two thousand devices, fifty renewals each: every one well before
 * its certificate ends, and what was spread at first stays spread. */
static void very_short_lives_neither_drift_nor_herd(void **state)
{
    enum { N = 2000, GENERATIONS = 50, SPAN = 120 * GENERATIONS };
    static unsigned in_second[SPAN + 200];
    unsigned busiest = 0;
    (void)state;
    for (int i = 0; i < N; i++) {
        int64_t issued_at = NOW + i % 60;
        char id[40], certificate[40];
        (void)snprintf(id, sizeof id, "device%d", i);
        for (int g = 0; g < GENERATIONS; g++) {
            enum renewal_why why;
            (void)snprintf(certificate, sizeof certificate, "certificate%d", g);
            struct renewal r = { .not_before = issued_at, .not_after = issued_at + 120 };
            renewal_begin(&r, true, renewal_seed(id, certificate), issued_at);
            int64_t at = renewal_at(&r, 25, issued_at, &why);
            assert_int_equal(why, RENEWAL_BY_LIFE);
            assert_in_range(at - issued_at, 57, 60);
            issued_at = at;
            in_second[at - NOW]++;
        }
    }
    for (int i = 0; i < SPAN; i++)
        busiest = in_second[i] > busiest ? in_second[i] : busiest;
    assert_in_range(busiest, 1, 3 * N / 60);
}

/* case 24: the service's clock jumps. Of a fleet that is spread over its sixty days only those are
 * told to renew whose instant lies in the jump, and nobody renews earlier by a clock set back. */
static void a_jump_of_the_clock_renews_its_own_share_only(void **state)
{
    static const struct {
        const char *why;
        int64_t jump_s;
        unsigned min, max; /* of 20,000 that are told to renew now */
    } CASES[] = {
        { "none", 0, 0, 0 },          { "an hour", H, 10, 20 }, /* 14 an hour */
        { "a day", D, 330, 340 },                               /* 333 a day */
        { "an hour back", -H, 0, 0 }, { "a day back", -D, 0, 0 },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        unsigned n = 0;
        for (int k = 0; k < 20000; k++) {
            char id[40];
            enum renewal_why why;
            (void)snprintf(id, sizeof id, "device%d", k);
            struct renewal r = begun(0, 90 * D, renewal_seed(id, "certificate"));
            r.chosen_at = NOW + 1 + 60 * D / 20000 * k;
            n += renewal_at(&r, 25, NOW + CASES[i].jump_s, &why) <= NOW + CASES[i].jump_s;
        }
        if (n < CASES[i].min || n > CASES[i].max)
            fail_msg("%s: %u", CASES[i].why, n);
    }
}

static void reasons_have_names(void **state)
{
    (void)state;
    assert_string_equal(renewal_why_name(RENEWAL_IN_DANGER), "danger");
    assert_string_equal(renewal_why_name((enum renewal_why)17), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_word_of_the_ca),
        cmocka_unit_test(answers_move_the_next_poll),
        cmocka_unit_test(the_instant_is_chosen_once),
        cmocka_unit_test(danger_overrides_the_ca),
        cmocka_unit_test(an_ended_certificate_is_not_asked_about),
        cmocka_unit_test(a_fleet_is_spread_evenly),
        cmocka_unit_test(short_lives_are_checked_often),
        cmocka_unit_test(very_short_lives_neither_drift_nor_herd),
        cmocka_unit_test(a_jump_of_the_clock_renews_its_own_share_only),
        cmocka_unit_test(reasons_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
