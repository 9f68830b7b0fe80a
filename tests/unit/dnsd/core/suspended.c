#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/base32.h"
#include "dnsd/core/suspended.h"

#define A "abcdefghijklmnopqrstuvwxyz234567"
#define B "bbcdefghijklmnopqrstuvwxyz234567"
#define C "abcdefghijklmnopqrstuvwxyz23456a"

static struct suspended *list_of(const char *text)
{
    struct suspended *s = NULL;
    struct err_info info = { .text = "" };
    unsigned line = 0;
    if (suspended_parse(&s, span_str(text), 42, &line, &info) != ERR_OK)
        fail_msg("line %u: %s", line, info.text);
    return s;
}

static void ids(void **state)
{
    static const struct {
        const char *why, *text, *id;
        bool want;
    } CASES[] = {
        { "an empty file", "", A, false },
        { "comments only", "# " A "\n", A, false },
        { "the id", A "\n", A, true },
        { "another id", A "\n", B, false },
        { "one that differs at the end", A "\n", C, false },
        { "no line end", A, A, true },
        { "capitals in the file", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", A, true },
        { "blanks, CRLF and a comment", " \t" A " # phishing\r\n", A, true },
        { "the last of several, one twice", B "\n" B "\n\n" A "\n", A, true },
        { "prefixes only", "10.0.0.0/8\n", A, false },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct suspended *s = list_of(CASES[i].text);
        if (suspended_has_id(s, span_str(CASES[i].id)) != CASES[i].want)
            fail_msg("%s", CASES[i].why);
        suspended_free(s);
    }
}

static void addresses(void **state)
{
    static const char LIST[] = "10.1.0.0/16\n"
                               "10.1.2.0/24\n" /* within the one before */
                               "192.168.1.5\n"
                               "203.0.113.0/24 # a network\n"
                               "255.255.255.255/32\n"
                               "2001:db8::/32\n"
                               "2001:db8:1::/48\n"
                               "fd00::1\n"
                               "fe00::/9\n";
    static const struct {
        const char *label;
        bool want;
    } CASES[] = {
        { "10-0-255-255", false },
        { "10-1-0-0", true },
        { "10-1-2-3", true },
        { "10-1-255-255", true }, /* behind the smaller one within */
        { "10-2-0-0", false },
        { "192-168-1-4", false },
        { "192-168-1-5", true },
        { "192-168-1-6", false },
        { "203-0-112-255", false },
        { "203-0-113-0", true },
        { "203-0-113-255", true },
        { "203-0-114-0", false },
        { "255-255-255-255", true },
        { "0-0-0-0", false },
        { "2001-db7-ffff-ffff-ffff-ffff-ffff-ffff", false },
        { "2001-db8--0", true },
        { "2001-db8-1--1", true },
        { "2001-db8-ffff-ffff-ffff-ffff-ffff-ffff", true },
        { "2001-db9--0", false },
        { "fd00--1", true },
        { "fd00--2", false },
        { "fe7f-ffff--1", true },
        { "fe80--1", false },
        { "a01--0", false }, /* its first bytes are those of 10.1/16 */
    };
    struct suspended *s = list_of(LIST);
    struct suspended *all = list_of("0.0.0.0/0\n::/0\n"), *none = list_of("");
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct ip ip;
        assert_int_equal(iplabel_decode(&ip, span_str(CASES[i].label)), ERR_OK);
        if (suspended_has_ip(s, &ip) != CASES[i].want)
            fail_msg("%s", CASES[i].label);
        assert_true(suspended_has_ip(all, &ip));
        assert_false(suspended_has_ip(none, &ip));
    }
    suspended_free(s);
    suspended_free(all);
    suspended_free(none);
}

static void mistakes(void **state)
{
    static const struct {
        const char *why, *text;
        unsigned line;
        const char *says;
    } CASES[] = {
        { "a word", A "\nfoo\n", 2, "'foo' is neither a device id" },
        { "an id with a digit too low", "\n\n1bcdefghijklmnopqrstuvwxyz234567\n", 3,
          "a-z and 2-7" },
        { "an id cut short", "abcdefghijklmnopqrstuvwxyz23456\n", 1, "neither" },
        { "two ids in a line", A " " B "\n", 1, "neither" },
        { "an octet too large", "10.0.0.256\n", 1, "neither" },
        { "an address cut short", "10.0.0/8\n", 1, "neither" },
        { "a length too large", "10.0.0.0/33\n", 1, "0 to 32" },
        { "an IPv6 length too large", "fd00::/129\n", 1, "0 to 128" },
        { "no length", "10.0.0.0/\n", 1, "0 to 32" },
        { "a length that is no number", "10.0.0.0/8x\n", 1, "0 to 32" },
        { "a length with a sign", "10.0.0.0/-1\n", 1, "0 to 32" },
        { "a netmask", "10.0.0.0/255.0.0.0\n", 1, "0 to 32" },
        { "bits behind the prefix", "10.0.0.1/8\n", 1, "has bits after its first 8" },
        { "IPv6 bits behind the prefix", "fd00::1/64\n", 1, "has bits after its first 64" },
        { "a zone id", "fe80::1%eth0\n", 1, "neither" },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct suspended *s = NULL;
        struct err_info info = { .text = "" };
        unsigned line = 0;
        enum err e = suspended_parse(&s, span_str(CASES[i].text), 1, &line, &info);
        if (e != ERR_CONFIG || s != NULL || line != CASES[i].line ||
            strstr(info.text, CASES[i].says) == NULL)
            fail_msg("%s: %s, line %u: %s", CASES[i].why, err_name(e), line, info.text);
    }
    struct suspended *s = NULL;
    unsigned line;
    static const uint8_t NUL[] = "10.0.0.0\0junk\n";
    assert_int_equal(suspended_parse(&s, (struct span){ NUL, sizeof NUL - 1 }, 1, &line, NULL),
                     ERR_CONFIG);
    char longest[300];
    memset(longest, '1', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    assert_int_equal(suspended_parse(&s, span_str(longest), 1, &line, NULL), ERR_CONFIG);
}

/* The n-th of many ids. */
static void make_id(char out[SUSPENDED_ID_LEN + 1], uint32_t n)
{
    uint8_t bytes[SUSPENDED_ID_BYTES];
    for (unsigned i = 0; i < sizeof bytes; i++) {
        n = n * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(n >> 24);
    }
    base32_encode((struct span){ bytes, sizeof bytes }, out);
}

/* All that are listed are found and, of as many others, none: whatever the seed. */
static void many_ids(void **state)
{
    enum { N = 100000, LINE = SUSPENDED_ID_LEN + 1 };
    char *text = malloc((size_t)N * LINE + 1);
    (void)state;
    assert_non_null(text);
    for (uint32_t i = 0; i < N; i++) {
        make_id(text + (size_t)i * LINE, 2 * i);
        text[(size_t)i * LINE + SUSPENDED_ID_LEN] = '\n';
    }
    for (uint64_t seed = 0; seed < 3; seed++) {
        struct suspended *s = NULL;
        unsigned line;
        struct span all = { (uint8_t *)text, (size_t)N * LINE };
        assert_int_equal(suspended_parse(&s, all, seed, &line, NULL), ERR_OK);
        assert_int_equal(s->n_ids, N);
        for (uint32_t i = 0; i < 2 * N; i++) {
            char id[SUSPENDED_ID_LEN + 1];
            make_id(id, i);
            if (suspended_has_id(s, span_str(id)) != (i % 2 == 0))
                fail_msg("id %u", (unsigned)i);
        }
        suspended_free(s);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids),
        cmocka_unit_test(addresses),
        cmocka_unit_test(mistakes),
        cmocka_unit_test(many_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
