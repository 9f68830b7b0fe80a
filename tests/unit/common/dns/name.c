#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/dns/name.h"

#define A63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define BYTES(s) (const uint8_t *)(s), sizeof(s) - 1

static void wire_names(void **state)
{
    static const struct {
        const char *why;
        const uint8_t *wire;
        size_t len;
        const char *want; /* NULL: refused */
        unsigned n_labels;
    } CASES[] = {
        { "the root", BYTES("\0"), ".", 0 },
        { "two labels", BYTES("\3www\4test\0"), "www.test", 2 },
        { "upper case is folded", BYTES("\3WwZ\5@[`{A\0"), "wwz.\\064[`{a", 2 },
        { "bytes above 127 stay", BYTES("\2\301\332\0"), "\\193\\218", 1 },
        { "bytes after the name", BYTES("\1a\0\0\1\0\1"), "a", 1 },
        { "a NUL and a dot in a label", BYTES("\3a\0.\0"), "a\\000\\046", 1 },
        { "the longest label", BYTES("\77" A63 "\0"), A63, 1 },
        { "nothing", BYTES(""), NULL, 0 },
        { "no root label", BYTES("\1a"), NULL, 0 },
        { "label cut short", BYTES("\5abc"), NULL, 0 },
        { "pointer", BYTES("\300\14"), NULL, 0 },
        { "pointer behind a label", BYTES("\1a\300\14"), NULL, 0 },
        { "label type 01", BYTES("\101a\0"), NULL, 0 },
        { "label type 10", BYTES("\201a\0"), NULL, 0 },
        { "longer than 255 bytes", BYTES("\77" A63 "\77" A63 "\77" A63 "\77" A63 "\0"), NULL, 0 },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct name n;
        char text[NAME_TEXT_MAX] = "";
        enum err e = name_read(&n, (struct span){ CASES[i].wire, CASES[i].len });
        if (e == ERR_OK)
            name_format(&n, text);
        if ((e == ERR_OK) != (CASES[i].want != NULL) ||
            (e == ERR_OK && (strcmp(text, CASES[i].want) != 0 || n.n_labels != CASES[i].n_labels)))
            fail_msg("%s: %s '%s'", CASES[i].why, err_name(e), text);
    }
}

/* 127 labels of one byte make 255 bytes: the most there can be. */
static void the_limits_hold(void **state)
{
    uint8_t wire[300];
    struct name n;
    (void)state;
    for (size_t i = 0; i < sizeof wire; i++)
        wire[i] = i % 2 == 0 ? 1 : 'A';
    wire[254] = 0;
    assert_int_equal(name_read(&n, (struct span){ wire, sizeof wire }), ERR_OK);
    assert_int_equal(n.len, 255);
    assert_int_equal(n.n_labels, NAME_LABELS_MAX);
    assert_int_equal(n.at[NAME_LABELS_MAX], 254);
    assert_int_equal(n.wire[253], 'a');
    wire[254] = 1;
    wire[256] = 0;
    assert_int_equal(name_read(&n, (struct span){ wire, sizeof wire }), ERR_INVALID);
}

/* The text of labels that are all escapes is the longest there is: it has to fit. */
static void every_name_can_be_written(void **state)
{
    uint8_t wire[255];
    char text[NAME_TEXT_MAX];
    struct name n;
    (void)state;
    memset(wire, 1, sizeof wire);
    wire[0] = wire[64] = wire[128] = 63;
    wire[192] = 61;
    wire[254] = 0;
    assert_int_equal(name_read(&n, (struct span){ wire, sizeof wire }), ERR_OK);
    name_format(&n, text);
    assert_int_equal(strlen(text), 250 * 4 + 3);
}

static void host_names(void **state)
{
    static const struct {
        const char *why, *text, *want; /* want NULL: refused */
    } CASES[] = {
        { "plain", "direct.example", "direct.example" },
        { "final dot", "direct.example.", "direct.example" },
        { "folded", "Direct.EXAMPLE", "direct.example" },
        { "underscore and hyphen", "_acme-challenge.x", "_acme-challenge.x" },
        { "the root", ".", "." },
        { "nothing is the root", "", "." },
        { "empty label", "a..b", NULL },
        { "leading dot", ".a", NULL },
        { "two final dots", "a..", NULL },
        { "space", "a b", NULL },
        { "escape", "a\\.b", NULL },
        { "not ASCII", "b\303\274cher.example", NULL },
        { "label of 64", "a" A63 ".b", NULL },
        { "256 bytes", A63 "." A63 "." A63 "." A63, NULL },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct name n;
        char text[NAME_TEXT_MAX] = "";
        enum err e = name_parse(&n, CASES[i].text);
        if (e == ERR_OK)
            name_format(&n, text);
        if ((e == ERR_OK) != (CASES[i].want != NULL) ||
            (e == ERR_OK && strcmp(text, CASES[i].want) != 0))
            fail_msg("%s: %s '%s'", CASES[i].why, err_name(e), text);
    }
}

static void names_within_names(void **state)
{
    static const struct {
        const char *why, *name, *parent;
        bool want;
    } CASES[] = {
        { "itself", "direct.example", "direct.example", true },
        { "below", "a.b.direct.example", "direct.example", true },
        { "everything is below the root", "a", ".", true },
        { "the parent is not below", "example", "direct.example", false },
        { "a suffix in the middle of a label", "xdirect.example", "direct.example", false },
        { "a sibling", "other.example", "direct.example", false },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct name n, parent;
        assert_int_equal(name_parse(&n, CASES[i].name), ERR_OK);
        assert_int_equal(name_parse(&parent, CASES[i].parent), ERR_OK);
        if (name_is_within(&n, &parent) != CASES[i].want)
            fail_msg("%s", CASES[i].why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wire_names),         cmocka_unit_test(the_limits_hold),
        cmocka_unit_test(host_names),         cmocka_unit_test(every_name_can_be_written),
        cmocka_unit_test(names_within_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
