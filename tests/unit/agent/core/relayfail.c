/* Which relays the service is told that cannot be reached: each row is a life in events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/core/relayfail.h"
#include "common/base/attr.h"

#define MINUTE_MS INT64_C(60000)

static void use(struct relayfail *f, const char *name)
{
    struct relaygrant g = { .name = "" };
    (void)snprintf(g.name, sizeof g.name, "%s", name);
    (void)snprintf(g.control, sizeof g.control, "%s.example:8445", name);
    relayfail_use(f, &g);
}

static void list_text(const struct relayfail *f, char *out, size_t cap)
{
    size_t len = 0;
    out[0] = 0;
    for (size_t i = 0; i < f->n; i++)
        len += (size_t)snprintf(out + len, cap - len, "%s%s", i > 0 ? " " : "", f->list[i].name);
}

/* a, b, ...: the service names that relay; x: an attempt failed; o: it is connected; +: the service
 * answered; -: it could not be reached; y, n: the next one on the list was looked at, and takes
 * connections or not; a digit: minutes go by, H: ten hours */
static const struct {
    const char *why, *events, *list, *changes;
} CASES[] = {
    { "it fails, the service answers, it fails on", "axx+3x2x", "a", "1" },
    { "not long enough", "axx+3x1x", "", "" },
    { "not tried after that", "axx+9", "", "" },
    { "the service was not heard meanwhile", "axx9x9x", "", "" },
    { "it was, but before", "a+x9x9x", "", "" },
    { "it came back in time", "axx+4ox4x", "", "" },
    { "and failed again, for long", "axx+4oxx+5x", "a", "1" },
    { "the service is gone, too: it is this network", "axx+3-5x", "", "" },
    { "and so it was", "axx+5x-", "", "1" },
    { "back, it begins anew", "axx+5x-+x4x", "", "1" },
    { "and ends the same", "axx+5x-+x5x", "a", "11" },
    { "what was told stays", "axx+5x+-", "a", "1" },
    { "another one is named", "axx+5x+bo", "a", "1" },
    { "which fails, too", "axx+5x+bxx+5x+", "a b", "11" },
    { "all have: one is named all the same", "axx+5x+bxx+5x+ax9x+9x", "a b", "11" },
    { "and works again", "axx+5x+bxx+5x+ax9x+o", "b", "111" },
    { "the only one: it is said once", "axx+5x+ax9x+x9x9x+x", "a", "1" },
    { "the only one works again", "axx+5x+ax9x+o", "", "11" },
    { "what is looked at does not work", "axx+5x+bo999n", "a", "1" },
    { "and then does", "axx+5x+bo999n999y", "", "11" },
    { "it may be elsewhere, after a day", "axx+5x+boHnHnHn", "", "11" },
    { "and not before", "axx+5x+boHnHn", "a", "1" },
    { "the service's answer about another begins anew", "axx+4bx4x", "", "" },
    { "no room: the oldest goes", "axx+5x+bxx+5x+cxx+5x+dxx+5x+exx+5x+", "b c d e", "11111" },
};

static void test_lives(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct relayfail f = { .unit_ms = MINUTE_MS };
        int64_t now_ms = 1000;
        char list[64], changes[16] = "";
        for (const char *e = CASES[i].events; *e != 0; e++) {
            bool changed = false;
            if (*e >= 'a' && *e <= 'e')
                use(&f, (char[]){ *e, 0 });
            else if (*e == 'x' || *e == 'o')
                changed = relayfail_tried(&f, *e == 'o', now_ms, 0);
            else if (*e == '+' || *e == '-')
                relayfail_report(&f, *e == '+', now_ms);
            else if (*e == 'y' || *e == 'n')
                changed = relayfail_looked(&f, *e == 'y', now_ms, 0);
            else if (*e == 'H')
                now_ms += 600 * MINUTE_MS;
            else
                now_ms += (*e - '0') * MINUTE_MS;
            if (changed)
                strcat(changes, "1");
        }
        list_text(&f, list, sizeof list);
        if (strcmp(list, CASES[i].list) != 0 || strcmp(changes, CASES[i].changes) != 0)
            fail_msg("%s: \"%s\", changed %s", CASES[i].why, list, changes);
    }
}

/* A relay that is back has all of its devices to take: an hour goes by over it. */
static void test_looks_are_spread(void **state)
{
    (void)state;
    for (uint32_t random = 0; random < 2048; random += 512) {
        struct relayfail f = { .unit_ms = MINUTE_MS };
        assert_null(relayfail_next(&f));
        use(&f, "a");
        (void)relayfail_tried(&f, false, 0, random);
        relayfail_report(&f, true, 0);
        assert_true(relayfail_tried(&f, false, 5 * MINUTE_MS, random));
        const struct relayfail_entry *next = relayfail_next(&f);
        assert_string_equal(next->control, "a.example:8445");
        assert_int_equal(next->look_ms, (5 + 60 + 30 * (random / 512 % 2)) * MINUTE_MS);
        assert_false(relayfail_looked(&f, false, 100 * MINUTE_MS, random));
        assert_int_equal(relayfail_next(&f)->look_ms,
                         (100 + 60 + 30 * (random / 512 % 2)) * MINUTE_MS);
    }
}

/* "a" is listed at `now_ms`; after how many minutes it is looked at. */
static int64_t fail_again(struct relayfail *f, int64_t now_ms)
{
    use(f, "a");
    (void)relayfail_tried(f, false, now_ms - 5 * MINUTE_MS, 0);
    relayfail_report(f, true, now_ms - 5 * MINUTE_MS);
    assert_true(relayfail_tried(f, false, now_ms, 0));
    relayfail_report(f, true, now_ms);
    return (relayfail_next(f)->look_ms - now_ms) / MINUTE_MS;
}

/* It takes connections and is of no use: its devices are not to leave one that works for it every
 * hour. */
static void test_a_look_that_was_wrong(void **state)
{
    static const struct {
        const char *why;
        int64_t gone_min; /* since it was taken off the list */
        int64_t want_min;
        bool connects; /* before that */
    } ROWS[] = {
        { "the first time", 0, 60, false },     { "again", 10, 120, false },
        { "hours later", 1430, 240, false },    { "and again", 10, 480, false },
        { "and again", 10, 960, false },        { "not above a day", 10, 1440, false },
        { "and stays there", 10, 1440, false }, { "after a day it is news", 1440, 60, false },
        { "and again", 10, 120, false },        { "it worked meanwhile", 10, 60, true },
    };
    struct relayfail f = { .unit_ms = MINUTE_MS };
    int64_t now_ms = 100 * MINUTE_MS;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        now_ms += ROWS[i].gone_min * MINUTE_MS;
        if (ROWS[i].connects) {
            use(&f, "a");
            (void)relayfail_tried(&f, true, now_ms - 6 * MINUTE_MS, 0);
        }
        int64_t got_min = fail_again(&f, now_ms);
        if (got_min != ROWS[i].want_min)
            fail_msg("%zu, %s: %lld minutes", i, ROWS[i].why, (long long)got_min);
        now_ms = relayfail_next(&f)->look_ms;
        assert_true(relayfail_looked(&f, true, now_ms, 0));
        use(&f, "b"); /* meanwhile */
        (void)relayfail_tried(&f, true, now_ms, 0);
    }
}

/* What is remembered of others goes first, and not what is news. */
static void test_wrong_looks_at_many(void **state)
{
    struct relayfail f = { .unit_ms = MINUTE_MS };
    int64_t now_ms = 100 * MINUTE_MS;
    (void)state;
    for (unsigned i = 0; i <= RELAYFAIL_MAX; i++) {
        use(&f, (char[]){ (char)('c' + i), 0 });
        (void)relayfail_tried(&f, false, now_ms, 0);
        relayfail_report(&f, true, now_ms);
        now_ms += 5 * MINUTE_MS;
        assert_true(relayfail_tried(&f, false, now_ms, 0));
        assert_true(relayfail_looked(&f, true, now_ms, 0));
    }
    for (unsigned i = 0; i < RELAYFAIL_MAX; i++)
        assert_int_equal(f.past[i].name[0], i == 0 ? 'c' + RELAYFAIL_MAX : 'c' + (int)i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lives),
        cmocka_unit_test(test_looks_are_spread),
        cmocka_unit_test(test_a_look_that_was_wrong),
        cmocka_unit_test(test_wrong_looks_at_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
