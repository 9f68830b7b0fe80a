#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/attr.h"
#include "common/base/span.h"

static void test_span(void **state)
{
    static const struct {
        const char *why, *a, *b;
        int equal, nocase;
    } CASES[] = {
        { "same", "abc", "abc", 1, 1 },     { "case", "aBc", "AbC", 0, 1 },
        { "shorter", "ab", "abc", 0, 0 },   { "longer", "abcd", "abc", 0, 0 },
        { "both empty", "", "", 1, 1 },     { "one empty", "", "a", 0, 0 },
        { "not a letter", "[", "{", 0, 0 },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct span a = span_str(CASES[i].a), b = span_str(CASES[i].b);
        if (span_equal(a, b) != CASES[i].equal || span_is_nocase(a, CASES[i].b) != CASES[i].nocase)
            fail_msg("%s", CASES[i].why);
    }
    assert_true(span_equal((struct span){ NULL, 0 }, span_str("")));
}

static void test_lines(void **state)
{
    static const struct {
        const char *why, *text, *line, *rest;
    } CASES[] = {
        { "one of two", "a\nb\n", "a", "b\n" },
        { "without an end", "a", "a", "" },
        { "blanks around it", " \ta b\t \r\nc", "a b", "c" },
        { "a comment behind it", "a # b\nc", "a", "c" },
        { "a comment alone", "# a\nb", "", "b" },
        { "an empty one", "\na", "", "a" },
        { "blanks alone", " \t", "", "" },
        { "nothing", "", "", "" },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct span text = span_str(CASES[i].text), line = span_take_line(&text);
        if (!span_equal(line, span_str(CASES[i].line)) ||
            !span_equal(text, span_str(CASES[i].rest)))
            fail_msg("%s", CASES[i].why);
    }
    struct span none = { NULL, 0 };
    assert_int_equal(span_take_line(&none).len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_span), cmocka_unit_test(test_lines) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
