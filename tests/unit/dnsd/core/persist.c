/* The accounts that may issue for every device of a zone: lines of a file, and the TXT records that
 * are made of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/dns/wire.h"
#include "dnsd/core/persist.h"

#define CA "ca.test https://ca.test/acct/1"
#define TXT "ca.test; accounturi=https://ca.test/acct/1; policy=wildcard"

/* The texts of all records, each behind a '|'. Checks that the records are well-formed. */
static void texts_of(const struct rrset *set, char *out, size_t cap)
{
    size_t n = 0, len = 0, at = 0;
    assert_int_equal(set->type, RR_TXT);
    assert_int_equal(set->ttl_s, PERSIST_TTL_S);
    for (; at < set->len; n++) {
        const uint8_t *p = set->rrs + at;
        size_t left = wire_load16(p + 10);
        assert_int_equal(wire_load16(p), DNS_POINTER | DNS_HEADER_LEN);
        assert_int_equal(wire_load16(p + 2), RR_TXT);
        assert_int_equal(wire_load16(p + 4), RR_CLASS_IN);
        assert_int_equal(wire_load16(p + 6), 0);
        assert_int_equal(wire_load16(p + 8), PERSIST_TTL_S);
        at += ZONE_RR_HEAD + left;
        assert_true(at <= set->len && len + left + 2 <= cap);
        out[len++] = '|';
        for (p += ZONE_RR_HEAD; left > 0;) {
            assert_true(p[0] > 0 && p[0] < left);
            memcpy(out + len, p + 1, p[0]);
            len += p[0];
            left -= 1u + p[0];
            p += 1u + p[0];
        }
    }
    out[len] = 0;
    assert_int_equal(n, set->n);
}

static void records(void **state)
{
    static const struct {
        const char *why, *text, *want;
    } CASES[] = {
        { "one account", CA "\n", "|" TXT },
        { "no line end", CA, "|" TXT },
        { "comments, blanks, CRLF", "# ours\r\n\n\tca.test \t https://ca.test/acct/1 # 2026\r\n",
          "|" TXT },
        { "a domain in capitals, with its dot", "CA.test. https://ca.test/acct/1", "|" TXT },
        { "of a URI the case counts", "ca.test https://CA.test/Acct",
          "|ca.test; accounturi=https://CA.test/Acct; policy=wildcard" },
        { "twice is once", CA "\n" CA "\n", "|" TXT },
        { "in the order in which they are signed: by length, then text",
          "ca.test https://ca.test/acct/10\nca.test https://ca.test/acct/2\n" CA,
          "|" TXT "|ca.test; accounturi=https://ca.test/acct/2; policy=wildcard"
          "|ca.test; accounturi=https://ca.test/acct/10; policy=wildcard" },
        { "another scheme", "ca.test urn:acct:1",
          "|ca.test; accounturi=urn:acct:1; policy=wildcard" },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        char got[1024];
        struct persist *p = NULL;
        unsigned line;
        assert_int_equal(persist_parse(&p, span_str(CASES[i].text), &line, NULL), ERR_OK);
        texts_of(&p->set, got, sizeof got);
        if (strcmp(got, CASES[i].want) != 0)
            fail_msg("%s: %s", CASES[i].why, got);
        persist_free(p);
    }
}

static void mistakes(void **state)
{
    static const struct {
        const char *why, *text;
        unsigned line;
    } CASES[] = {
        { "an empty file", "", 1 },
        { "comments only", "# a\n# b\n", 2 },
        { "no URI", CA "\nca.test\n", 2 },
        { "no domain", "https://ca.test/acct/1\n", 1 },
        { "a domain that is none", "ca..test https://ca.test/acct/1\n", 1 },
        { "the root", ". https://ca.test/acct/1\n", 1 },
        { "no scheme", "ca.test acct\n", 1 },
        { "a third word", CA " more\n", 1 },
        { "what would end the parameter", CA ";persistUntil=1\n", 1 },
        { "a byte that is not ASCII", CA "\xc3\xa4\n", 1 },
        { "a control byte", CA "\001\n", 1 },
    };
    char many[(PERSIST_MAX + 1) * 40];
    struct persist *p = NULL;
    unsigned line;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct err_info info = { "" };
        enum err e = persist_parse(&p, span_str(CASES[i].text), &line, &info);
        if (e != ERR_CONFIG || line != CASES[i].line || info.text[0] == 0)
            fail_msg("%s: line %u: %s", CASES[i].why, line, info.text);
    }
    static const uint8_t NUL[] = "ca.test\0 https://ca.test/1\n";
    assert_int_equal(persist_parse(&p, (struct span){ NUL, sizeof NUL - 1 }, &line, NULL),
                     ERR_CONFIG);
    many[0] = 0;
    for (unsigned i = 0; i <= PERSIST_MAX; i++)
        (void)snprintf(many + strlen(many), 40, "ca.test https://ca.test/%u\n", i);
    assert_int_equal(persist_parse(&p, span_str(many), &line, NULL), ERR_CONFIG);
    assert_int_equal(line, PERSIST_MAX + 1);
}

/* A URI of the greatest length needs three strings; one byte more is refused. */
static void long_uris(void **state)
{
    char text[PERSIST_URI_MAX + 16] = "ca.test x:", got[PERSIST_URI_MAX + 64];
    struct persist *p = NULL;
    unsigned line;
    (void)state;
    memset(text + 10, 'a', PERSIST_URI_MAX - 2);
    assert_int_equal(persist_parse(&p, span_str(text), &line, NULL), ERR_OK);
    texts_of(&p->set, got, sizeof got);
    assert_int_equal(strlen(got),
                     1 + strlen("ca.test; accounturi=; policy=wildcard") + PERSIST_URI_MAX);
    assert_memory_equal(got + 21, text + 8, PERSIST_URI_MAX);
    persist_free(p);
    text[PERSIST_URI_MAX + 8] = 'a';
    assert_int_equal(persist_parse(&p, span_str(text), &line, NULL), ERR_CONFIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(records), cmocka_unit_test(mistakes),
                                        cmocka_unit_test(long_uris) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
