/* The text of a zone file taken apart: entries with their words, heads in every order, what is
 * refused and where, and periods. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/attr.h"
#include "dnsd/core/zonetext.h"

#define NONE (-1) /* no TTL */

static const struct {
    const char *why, *text;
    int64_t ttl_s;
    const char *type, *plain; /* what is left: one line, blanks for what is no word */
    bool has_owner;
} ENTRIES[] = {
    { "name and type", "a A 192.0.2.1", NONE, "A", "a A 192.0.2.1", true },
    { "TTL, class", "a 60 IN A x", 60, "A", "a    IN A x", true },
    { "class, TTL", "a IN 60 A x", 60, "A", "a IN    A x", true },
    { "a class of RFC 3597", "a CLASS1 A x", NONE, "A", "a CLASS1 A x", true },
    { "no owner", "\t1h30m A x", 5400, "A", "       A x", false },
    { "an owner of digits", "60 A x", NONE, "A", "60 A x", true },
    { "an owner called in", "in 60 in A x", 60, "A", "in    in A x", true },
    { "units in capitals", "a 1W2D A x", 777600, "A", "a      A x", true },
    { "TTL 0", "a 0 A x", 0, "A", "a   A x", true },
    { "the largest TTL", "a 2147483647 A x", 2147483647, "A", "a            A x", true },
    { "brackets over lines", "a X (1 ; (\"\n 2)\n", NONE, "X", "a X  1       2 ", true },
    { "brackets in brackets", "a X ((1)\n2)", NONE, "X", "a X   1  2 ", true },
    { "brackets in a string", "a X \"(;\\\"\"", NONE, "X", "a X \"(;\\\"\"", true },
    { "escaped marks", "a\\;\\( X \\\"", NONE, "X", "a\\;\\( X \\\"", true },
    { "a comment at once", "a X;1", NONE, "X", "a X  ", true },
    { "a carriage return", "a X\r\n", NONE, "X", "a X ", true },
    { "empty lines before", "\n \n ; x\na X", NONE, "X", "a X", true },
    { "a string in a parameter", "a X k=\"v w\"", NONE, "X", "a X k=\"v w\"", true },
    { "control bytes in a comment", "a X ;\x01", NONE, "X", "a X   ", true },
};

static struct zonetext *begin(const char *text)
{
    struct span raw = span_str(text);
    struct zonetext *zt = malloc(sizeof *zt);
    char *plain = malloc(raw.len + 1);
    assert_non_null(zt);
    assert_non_null(plain);
    memcpy(plain, text, raw.len + 1);
    zonetext_init(zt, raw, plain);
    return zt;
}

static void end(struct zonetext *zt)
{
    free(zt->plain);
    free(zt);
}

static void entries(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ENTRIES); i++) {
        struct zonetext *zt = begin(ENTRIES[i].text);
        struct zone_entry e;
        struct err_info info = { "" };
        print_message("%s\n", ENTRIES[i].why);
        if (zonetext_next(zt, &e, &info) != ERR_OK)
            fail_msg("%s", info.text);
        assert_string_equal(e.text, ENTRIES[i].plain);
        assert_int_equal(e.has_owner, ENTRIES[i].has_owner);
        assert_int_equal(e.has_ttl ? (int64_t)e.ttl_s : NONE, ENTRIES[i].ttl_s);
        struct span type = zonetext_word(zt, &e.words[e.type]);
        assert_true(span_equal(type, span_str(ENTRIES[i].type)));
        assert_int_equal(zonetext_next(zt, &e, &info), ERR_NOTFOUND);
        end(zt);
    }
}

static const struct {
    const char *why, *text, *want;
} FAULTS[] = {
    { "the bracket that is open, not the end", "a X\nb X (1\nc X 2\n", "2:5: the ( " },
    { "the outer one", "a X ( (1)\n", "1:5: the ( " },
    { "a bracket too many", "a X\n\n b X 1) 2\n", "3:7: a ) " },
    { "a bracket opened in a comment", "a X ; (\nb X )\n", "2:5: a ) " },
    { "a string to the next line", "a X \"1\nb X 2\"\n", "1:5: the string" },
    { "a string to the next line, in brackets", "a X (\n \"1\n 2\")\n", "2:2: the string" },
    { "a string to the end", "a X \"", "1:5: the string" },
    { "an escaped quote ends nothing", "a X \"1\\\"\n", "1:5: the string" },
    { "a quote behind a string", "a X \"1\"\"2\"\n", "1:8: no blank" },
    { "a quote within a word", "a X 1\"2\"\n", "1:6: a quote" },
    { "a backslash at the end of a line", "a X \\\n", "1:5: a backslash" },
    { "before CRLF", "a X \\\r\n", "1:5: a backslash" },
    { "at the end of the text", "a X \\", "1:5: a backslash" },
    { "a control byte", "a X 1\x01\n", "1:6: a byte that is no text: 0x01" },
    { "a control byte in a string", "a X \"\x7f\"\n", "1:6: a byte that is no text: 0x7f" },
    { "an escaped control byte", "a X \\\x01\n", "1:6: a byte that is no text: 0x01" },
    { "an unknown unit", "a 1x X\n", "1:3: '1x' is not a TTL" },
    { "a TTL over lines, not a type", "a (\n1x X )\n", "2:1: '1x' is not a TTL" },
    { "above 31 bits", "a 2147483648 X\n", "1:3: TTL 2147483648 is out of range" },
    { "two TTLs", "a 60 IN 61 A\n", "1:9: a second TTL" },
    { "$TTL alone", "$TTL ; 60\n", "1:1: write $TTL" },
    { "$TTL with two", "$TTL 60 70\n", "1:1: write $TTL" },
    { "$TTL below zero", "$ttl -1\n", "1:6: '-1' is not a TTL" },
    { "no type", "a 60 IN\n", "1:8: no type" },
    { "a name alone", "\n\na\n", "3:2: no type" },
};

static void faults(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(FAULTS); i++) {
        struct zonetext *zt = begin(FAULTS[i].text);
        struct zone_entry e;
        struct err_info info = { "" };
        enum err got;
        print_message("%s\n", FAULTS[i].why);
        while ((got = zonetext_next(zt, &e, &info)) == ERR_OK)
            continue;
        assert_int_equal(got, ERR_CONFIG);
        if (strncmp(info.text, FAULTS[i].want, strlen(FAULTS[i].want)) != 0)
            fail_msg("%s", info.text);
        end(zt);
    }
}

static void directives(void **state)
{
    (void)state;
    struct zonetext *zt = begin("$TTL 1d\n$Origin x.\n$X");
    struct zone_entry e;
    assert_int_equal(zonetext_next(zt, &e, NULL), ERR_OK);
    assert_true(e.is_directive && e.has_ttl && e.ttl_s == 86400);
    assert_int_equal(zonetext_next(zt, &e, NULL), ERR_OK);
    assert_true(e.is_directive && !e.has_ttl && e.n_words == 2);
    assert_int_equal(zonetext_next(zt, &e, NULL), ERR_OK);
    assert_true(e.is_directive && e.n_words == 1);
    assert_int_equal(zonetext_next(zt, &e, NULL), ERR_NOTFOUND);
    end(zt);
}

/* More words than are told apart are read over, and their faults found. */
static void many_words(void **state)
{
    (void)state;
    char text[512] = "a TXT";
    for (unsigned i = 0; i < ZONETEXT_WORDS + 10; i++)
        strcat(text, " 12345");
    struct zonetext *zt = begin(text);
    struct zone_entry e;
    assert_int_equal(zonetext_next(zt, &e, NULL), ERR_OK);
    assert_int_equal(e.n_words, ZONETEXT_WORDS);
    end(zt);
    strcat(text, " \"");
    zt = begin(text);
    assert_int_equal(zonetext_next(zt, &e, NULL), ERR_CONFIG);
    end(zt);
}

static const struct {
    const char *why, *text;
    enum err want;
    uint32_t want_s;
} PERIODS[] = {
    { "seconds", "60", ERR_OK, 60 },
    { "each unit", "1w1d1h1m1s", ERR_OK, 694861 },
    { "a unit twice is a sum", "1m1m", ERR_OK, 120 },
    { "the largest", "2147483647", ERR_OK, 2147483647 },
    { "zeros before", "0000000000000000000000001", ERR_OK, 1 },
    { "nothing", "", ERR_INVALID, 0 },
    { "a unit alone", "m", ERR_INVALID, 0 },
    { "no unit behind the second number", "1m1", ERR_INVALID, 0 },
    { "below zero", "-1", ERR_INVALID, 0 },
    { "a fraction", "1.5", ERR_INVALID, 0 },
    { "one more", "2147483648", ERR_RANGE, 0 },
    { "what wraps 32 bits", "4294967297", ERR_RANGE, 0 },
    { "what wraps 64 bits", "18446744073709551617", ERR_RANGE, 0 },
    { "a sum", "2147483647s1s", ERR_RANGE, 0 },
    { "a product", "99999w", ERR_RANGE, 0 },
};

static void periods(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(PERIODS); i++) {
        uint32_t s = 7;
        print_message("%s\n", PERIODS[i].why);
        assert_int_equal(zonetext_period(&s, span_str(PERIODS[i].text)), PERIODS[i].want);
        assert_int_equal(s, PERIODS[i].want == ERR_OK ? PERIODS[i].want_s : 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries),    cmocka_unit_test(faults),  cmocka_unit_test(directives),
        cmocka_unit_test(many_words), cmocka_unit_test(periods),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
