#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/dns/tag.h"

#define ID "abcdefghijklmnopqrstuvwxyz234567"
#define KEY "000102030405060708090a0b0c0d0e0f"
#define OTHER_KEY "ffffffffffffffffffffffffffffffff"
#define THIRD_KEY "0123456789abcdef0123456789ABCDEF"

static struct tag_keys keys_of(const char *text)
{
    struct tag_keys keys = { .n = 0 };
    unsigned line;
    assert_int_equal(tag_keys_parse(&keys, span_str(text), &line, NULL), ERR_OK);
    return keys;
}

static struct ip ip_of(const char *text)
{
    struct ip ip;
    assert_int_equal(iplabel_decode(&ip, span_str(text)), ERR_OK);
    return ip;
}

/* Whether the label is accepted, as a server decides it. */
static bool accepts(const struct tag_keys *keys, const char *label, const char *id)
{
    struct span rest;
    struct ip ip;
    return tag_split(span_str(label), &rest) && iplabel_decode(&ip, rest) == ERR_OK &&
           tag_check(keys, span_str(label), span_str(id), &ip);
}

static void the_vectors_of_the_design(void **state)
{
    static const struct {
        const char *ip, *label;
    } CASES[] = {
        { "203-0-113-9", "pfzddxqb7-203-0-113-9" },
        { "8-8-8-8", "pksjz766e-8-8-8-8" },
        { "2606-4700-4700--1111", "pegmflpxc-2606-4700-4700--1111" },
        { "2a00--0", "pajzyoqgk-2a00--0" },
    };
    struct tag_keys keys = keys_of(KEY);
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        char label[TAG_LABEL_MAX];
        struct ip ip = ip_of(CASES[i].ip);
        tag_label(label, &keys, span_str(ID), &ip);
        assert_string_equal(label, CASES[i].label);
        assert_true(accepts(&keys, label, ID));
    }
}

static void what_is_accepted(void **state)
{
    static const struct {
        const char *why, *keys, *label, *id;
        bool want;
    } CASES[] = {
        { "by the only key", KEY, "pksjz766e-8-8-8-8", ID, true },
        { "by the second key", OTHER_KEY "\n" KEY, "pksjz766e-8-8-8-8", ID, true },
        { "a key that is gone", OTHER_KEY, "pksjz766e-8-8-8-8", ID, false },
        { "another device", KEY, "pksjz766e-8-8-8-8", "b" ID, false },
        { "another address", KEY, "pksjz766e-8-8-8-9", ID, false },
        { "the same address in another spelling", KEY, "pajzyoqgk-2a00-0-0-0-0-0-0-0", ID, true },
        { "the first character", KEY, "pjsjz766e-8-8-8-8", ID, false },
        { "the last character", KEY, "pksjz766f-8-8-8-8", ID, false },
        { "no 'p'", KEY, "qksjz766e-8-8-8-8", ID, false },
        { "no '-'", KEY, "pksjz766e08-8-8-8", ID, false },
        { "a tag that is short", KEY, "pksjz766-8-8-8-8", ID, false },
        { "a tag that is long", KEY, "pksjz766ee-8-8-8-8", ID, false },
        { "nothing after it", KEY, "pksjz766e-", ID, false },
        { "not base32", KEY, "p01891890-8-8-8-8", ID, false },
        { "bytes that are no characters", KEY, "p\x01\xff\x80\x7f\x02\x03\x04\x05-8-8-8-8", ID,
          false },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct tag_keys keys = keys_of(CASES[i].keys);
        if (accepts(&keys, CASES[i].label, CASES[i].id) != CASES[i].want)
            fail_msg("%s", CASES[i].why);
    }
}

/* IPv4 and IPv6 addresses whose bytes begin alike have different tags. */
static void the_family_counts(void **state)
{
    struct tag_keys keys = keys_of(KEY);
    struct ip four = ip_of("32-1-13-184"), six = ip_of("2001-db8--0");
    char a[TAG_LEN + 1], b[TAG_LEN + 1];
    (void)state;
    tag_make(a, keys.keys[0], span_str(ID), &four);
    tag_make(b, keys.keys[0], span_str(ID), &six);
    assert_memory_equal(four.bytes, six.bytes, 4);
    assert_string_not_equal(a, b);
}

static void key_files(void **state)
{
    static const struct {
        const char *why, *text;
        unsigned n;    /* 0: an error, */
        unsigned line; /* in this line */
    } CASES[] = {
        { "one key", KEY "\n", 1, 0 },
        { "no line end", KEY, 1, 0 },
        { "two keys, comments, blanks, CRLF", "# new\r\n " OTHER_KEY "\t\r\n\n# old\n" KEY, 2, 0 },
        { "either case", THIRD_KEY, 1, 0 },
        { "empty", "", 0, 1 },
        { "comments only", "# a\n# b\n", 0, 2 },
        { "a digit short", "\n00010203040506070809 0a0b0c0d0e0\n", 0, 2 },
        { "a digit more", KEY "0\n", 0, 1 },
        { "a letter that is no digit", "g00102030405060708090a0b0c0d0e0f", 0, 1 },
        { "a third key", KEY "\n" OTHER_KEY "\n" THIRD_KEY "\n", 0, 3 },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct tag_keys keys = { .n = 99 };
        struct err_info info = { .text = "" };
        unsigned line = 0;
        enum err e = tag_keys_parse(&keys, span_str(CASES[i].text), &line, &info);
        enum err want = CASES[i].n > 0 ? ERR_OK : ERR_CONFIG;
        if (e != want || (e == ERR_OK && keys.n != CASES[i].n) ||
            (e != ERR_OK && (line != CASES[i].line || keys.n != 99)))
            fail_msg("%s: %s, %u keys, line %u", CASES[i].why, err_name(e), keys.n, line);
        assert_null(strstr(info.text, "0405060708")); /* no part of a key in a message */
    }
    struct tag_keys keys = keys_of(OTHER_KEY "\n" THIRD_KEY);
    assert_int_equal(keys.keys[0][15], 0xff);
    assert_int_equal(keys.keys[1][7], 0xef);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vectors_of_the_design),
        cmocka_unit_test(what_is_accepted),
        cmocka_unit_test(the_family_counts),
        cmocka_unit_test(key_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
