#include "provisiond/core/digestset.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "common/base/attr.h"

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef"
#define ID "abcdefghijklmnopqrstuvwxyz234567"

static const struct {
    const char *why, *text;
    enum digestset_form form;
    int n; /* entries; -1: refused */
} CASES[] = {
    { "nothing", "", DIGESTSET_HEX, 0 },
    { "one", A "\n", DIGESTSET_HEX, 1 },
    { "without an end of line", A, DIGESTSET_HEX, 1 },
    { "two, with all that may be around", "# list\n\n  " A "\t# why\r\n" B "\r\n", DIGESTSET_HEX,
      2 },
    { "one digit short", "aaaa\n", DIGESTSET_HEX, -1 },
    { "one digit more", A "a\n", DIGESTSET_HEX, -1 },
    { "no digit", "g" A "\n", DIGESTSET_HEX, -1 },
    { "two on a line", A " " A "\n", DIGESTSET_HEX, -1 },
    { "an id", ID "\n", DIGESTSET_ID, 1 },
    { "an id is lower case", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567\n", DIGESTSET_ID, -1 },
    { "a key is no id", A "\n", DIGESTSET_ID, -1 },
    { "an id is no key", ID "\n", DIGESTSET_HEX, -1 },
};

static void table(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct digestset *s = NULL;
        struct err_info info = { "" };
        enum err e = digestset_parse(&s, span_str(CASES[i].text), CASES[i].form, &info);
        if ((e == ERR_OK) != (CASES[i].n >= 0))
            fail_msg("%s: %s", CASES[i].why, info.text);
        if (e == ERR_OK)
            assert_int_equal(digestset_count(s), CASES[i].n);
        else
            assert_non_null(strstr(info.text, "line 1"));
        digestset_free(s);
    }
}

static void finds_what_is_there(void **state)
{
    (void)state;
    struct digestset *s = NULL;
    uint8_t a[DIGESTSET_LEN], b[DIGESTSET_LEN] = { 0x01, 0x23 };
    memset(a, 0xaa, sizeof a);
    assert_int_equal(digestset_parse(&s, span_str(B "\n" A "\n"), DIGESTSET_HEX, NULL), ERR_OK);
    assert_true(digestset_has(s, a));
    assert_false(digestset_has(s, b));
    for (size_t i = 0; i < sizeof b; i++)
        b[i] = (uint8_t)(0x0123456789abcdefu >> (56 - 8 * (i % 8)));
    assert_true(digestset_has(s, b));
    assert_false(digestset_has(NULL, a));
    digestset_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table),
        cmocka_unit_test(finds_what_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
