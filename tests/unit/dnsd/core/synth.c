#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "dnsd/core/synth.h"

#define ID "abcdefghijklmnopqrstuvwxyz234567"
#define Z ".direct.example"

static const struct synth_policy TAGGED = { .public_answers = SYNTH_PUBLIC_TAGGED },
                                 ALL = { .public_answers = SYNTH_PUBLIC_ALL },
                                 NONE = { .public_answers = SYNTH_PUBLIC_NONE },
                                 LOOP = { .public_answers = SYNTH_PUBLIC_NONE, .loopback = true },
                                 CHALLENGES = { .challenges_only = true };
static const struct guard NOTHING = { NULL, NULL, NULL };

static void names_and_policies(void **state)
{
    static const struct {
        const char *why, *name;
        const struct synth_policy *policy;
        enum synth_kind want;
        uint32_t ttl_s;
    } CASES[] = {
        { "the apex is static", "direct.example", &TAGGED, SYNTH_OTHER, 0 },
        { "a word is static", "www" Z, &TAGGED, SYNTH_OTHER, 0 },
        { "an address without an id is nothing of ours", "10-0-0-1" Z, &ALL, SYNTH_OTHER, 0 },
        { "an id", ID Z, &TAGGED, SYNTH_DEVICE, 0 },
        { "31 characters", "bcdefghijklmnopqrstuvwxyz234567" Z, &TAGGED, SYNTH_OTHER, 0 },
        { "33 characters", "a" ID Z, &TAGGED, SYNTH_OTHER, 0 },
        { "1 is not base32", "1bcdefghijklmnopqrstuvwxyz234567" Z, &TAGGED, SYNTH_OTHER, 0 },
        { "8 is not base32", "abcdefghijklmnopqrstuvwxyz234568" Z, &TAGGED, SYNTH_OTHER, 0 },
        { "- is not base32", "abcdefghijklmnopq-stuvwxyz234567" Z, &TAGGED, SYNTH_OTHER, 0 },
        { "the id in capitals", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" Z, &TAGGED, SYNTH_DEVICE, 0 },
        { "a challenge", "_acme-challenge." ID Z, &TAGGED, SYNTH_CHALLENGE, 0 },
        { "its case does not matter", "_ACME-Challenge." ID Z, &TAGGED, SYNTH_CHALLENGE, 0 },
        { "below a challenge", "a._acme-challenge." ID Z, &TAGGED, SYNTH_MISSING, 0 },
        { "an id below an id", ID "." ID Z, &TAGGED, SYNTH_MISSING, 0 },
        { "a private address", "192-168-1-5." ID Z, &NONE, SYNTH_ADDRESS, 86400 },
        { "ULA", "fd00--1." ID Z, &NONE, SYNTH_ADDRESS, 86400 },
        { "below an address", "a.192-168-1-5." ID Z, &NONE, SYNTH_MISSING, 0 },
        { "an address below an address", "10-0-0-1.10-0-0-2." ID Z, &ALL, SYNTH_MISSING, 0 },
        { "a challenge below an address", "_acme-challenge.10-0-0-2." ID Z, &ALL, SYNTH_MISSING,
          0 },
        { "a word below an id", "www." ID Z, &ALL, SYNTH_MISSING, 0 },
        { "a public address, all", "8-8-8-8." ID Z, &ALL, SYNTH_ADDRESS, 3600 },
        { "a public address, none", "8-8-8-8." ID Z, &NONE, SYNTH_MISSING, 0 },
        { "a public address without a tag", "8-8-8-8." ID Z, &TAGGED, SYNTH_MISSING, 0 },
        { "a tag, and no key to check it", "pksjz766e-8-8-8-8." ID Z, &TAGGED, SYNTH_MISSING, 0 },
        { "a tag and no key, all", "pksjz766e-8-8-8-8." ID Z, &ALL, SYNTH_MISSING, 0 },
        { "loopback", "127-0-0-1." ID Z, &LOOP, SYNTH_ADDRESS, 86400 },
        { "loopback, IPv6", "0--1." ID Z, &LOOP, SYNTH_ADDRESS, 86400 },
        { "loopback is not public", "127-0-0-1." ID Z, &ALL, SYNTH_MISSING, 0 },
        { "::1 is not public", "0--1." ID Z, &ALL, SYNTH_MISSING, 0 },
        { "metadata service", "169-254-169-254." ID Z, &ALL, SYNTH_MISSING, 0 },
        { "link-local IPv6", "fe80--1." ID Z, &ALL, SYNTH_MISSING, 0 },
        { "IPv4-mapped", "0--ffff-a00-5." ID Z, &ALL, SYNTH_MISSING, 0 },
        { "multicast", "224-0-0-1." ID Z, &ALL, SYNTH_MISSING, 0 },
        { "unspecified", "0-0-0-0." ID Z, &ALL, SYNTH_MISSING, 0 },
        { "at the end of CNAMEs", ID Z, &CHALLENGES, SYNTH_CHALLENGE, 0 },
        { "there, nothing is below an id", "10-0-0-1." ID Z, &CHALLENGES, SYNTH_MISSING, 0 },
        { "not even that", "_acme-challenge." ID Z, &CHALLENGES, SYNTH_MISSING, 0 },
        { "static names are", "www" Z, &CHALLENGES, SYNTH_OTHER, 0 },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct name n;
        struct synth s = { .ttl_s = 0 };
        assert_int_equal(name_parse(&n, CASES[i].name), ERR_OK);
        synth_match(&s, CASES[i].policy, &NOTHING, &n, 2);
        if (s.kind != CASES[i].want || (s.kind == SYNTH_ADDRESS && s.ttl_s != CASES[i].ttl_s))
            fail_msg("%s: kind %d, TTL %u", CASES[i].why, (int)s.kind, (unsigned)s.ttl_s);
    }
}

/* Key 000102..0f is accepted, as the second one. */
static void tags(void **state)
{
    static const struct {
        const char *why, *name;
        const struct synth_policy *policy;
        enum synth_kind want;
    } CASES[] = {
        { "IPv4", "pksjz766e-8-8-8-8." ID Z, &TAGGED, SYNTH_ADDRESS },
        { "in capitals", "PKSJZ766E-8-8-8-8." ID Z, &TAGGED, SYNTH_ADDRESS },
        { "IPv6", "pegmflpxc-2606-4700-4700--1111." ID Z, &TAGGED, SYNTH_ADDRESS },
        { "IPv6 that ends in zeros", "pajzyoqgk-2a00--0." ID Z, &TAGGED, SYNTH_ADDRESS },
        { "another spelling", "pajzyoqgk-2a00-0--0." ID Z, &TAGGED, SYNTH_ADDRESS },
        { "also with all", "pksjz766e-8-8-8-8." ID Z, &ALL, SYNTH_ADDRESS },
        { "never with none", "pksjz766e-8-8-8-8." ID Z, &NONE, SYNTH_MISSING },
        { "without the tag", "8-8-8-8." ID Z, &TAGGED, SYNTH_MISSING },
        { "a wrong tag", "pksjz766f-8-8-8-8." ID Z, &TAGGED, SYNTH_MISSING },
        { "a wrong tag with all", "pksjz766f-8-8-8-8." ID Z, &ALL, SYNTH_MISSING },
        { "another address", "pksjz766e-8-8-4-4." ID Z, &TAGGED, SYNTH_MISSING },
        { "another device",
          "pksjz766e-8-8-8-8.b"
          "bcdefghijklmnopqrstuvwxyz234567" Z,
          &TAGGED, SYNTH_MISSING },
        { "below a tagged name", "a.pksjz766e-8-8-8-8." ID Z, &TAGGED, SYNTH_MISSING },
        { "a tag and no address", "pksjz766e-." ID Z, &TAGGED, SYNTH_MISSING },
        { "a tag alone", "pksjz766e." ID Z, &TAGGED, SYNTH_MISSING },
        { "p alone", "p." ID Z, &TAGGED, SYNTH_MISSING },
        { "two tags", "pksjz766e-pksjz766e-8-8-8-8." ID Z, &TAGGED, SYNTH_MISSING },
        { "a private address by itself", "10-0-0-1." ID Z, &TAGGED, SYNTH_ADDRESS },
    };
    struct tag_keys keys = { .n = 2 };
    char label[TAG_LABEL_MAX];
    (void)state;
    for (unsigned i = 0; i < SIPHASH_KEY_LEN; i++)
        keys.keys[1][i] = (uint8_t)i;
    const struct guard guard = { &keys, NULL, NULL };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct name n;
        struct synth s = { .ttl_s = 0 };
        assert_int_equal(name_parse(&n, CASES[i].name), ERR_OK);
        synth_match(&s, CASES[i].policy, &guard, &n, 2);
        if (s.kind != CASES[i].want)
            fail_msg("%s: kind %d", CASES[i].why, (int)s.kind);
        if (s.kind == SYNTH_ADDRESS)
            assert_int_equal(s.ttl_s, CASES[i].name[0] == '1' ? 86400 : 3600);
    }
    /* what never is answered is not answered with a tag that would be right either */
    static const char *const NEVER[] = { "10-0-0-1",        "127-0-0-1",    "0--1",
                                         "169-254-169-254", "fe80--1",      "fd00--1",
                                         "0--ffff-808-808", "2002-a00-5--1" };
    for (size_t i = 0; i < ARRAY_LEN(NEVER); i++) {
        struct ip ip;
        struct name n;
        struct synth s;
        char text[256];
        struct tag_keys first = { .n = 1 };
        memcpy(first.keys[0], keys.keys[1], SIPHASH_KEY_LEN);
        assert_int_equal(iplabel_decode(&ip, span_str(NEVER[i])), ERR_OK);
        tag_label(label, &first, span_str(ID), &ip);
        (void)snprintf(text, sizeof text,
                       "%s"
                       "." ID Z,
                       label);
        assert_int_equal(name_parse(&n, text), ERR_OK);
        const struct synth_policy loop = { .public_answers = SYNTH_PUBLIC_ALL, .loopback = true };
        synth_match(&s, &loop, &guard, &n, 2);
        if (s.kind != SYNTH_MISSING)
            fail_msg("%s", label);
    }
}

static void suspended_ids_and_addresses(void **state)
{
    static const char LIST[] = ID "\n10.1.0.0/16\n8.8.0.0/16\nfd00::/16\n";
    static const char OTHER[] = "bbcdefghijklmnopqrstuvwxyz234567";
    static const struct {
        const char *why, *label; /* NULL: the id itself */
        const char *id;
        enum synth_kind want;
    } CASES[] = {
        { "the id", NULL, ID, SYNTH_MISSING },
        { "its private address", "10-2-0-1", ID, SYNTH_MISSING },
        { "its challenge", "_acme-challenge", ID, SYNTH_MISSING },
        { "anything below", "a.b", ID, SYNTH_MISSING },
        { "another id", NULL, OTHER, SYNTH_DEVICE },
        { "another id's challenge", "_acme-challenge", OTHER, SYNTH_CHALLENGE },
        { "another id's address", "10-2-0-1", OTHER, SYNTH_ADDRESS },
        { "a private address in a range", "10-1-0-1", OTHER, SYNTH_MISSING },
        { "a public one", "8-8-8-8", OTHER, SYNTH_MISSING },
        { "a public one beside it", "8-9-8-8", OTHER, SYNTH_ADDRESS },
        { "ULA", "fd00--1", OTHER, SYNTH_MISSING },
        { "ULA beside it", "fd01--1", OTHER, SYNTH_ADDRESS },
    };
    struct guard guard = { NULL, NULL, NULL };
    unsigned line;
    (void)state;
    assert_int_equal(suspended_parse(&guard.suspended, span_str(LIST), 7, &line, NULL), ERR_OK);
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct name n;
        struct synth s;
        char text[256];
        (void)snprintf(text, sizeof text, "%s%s%s" Z, CASES[i].label ? CASES[i].label : "",
                       CASES[i].label ? "." : "", CASES[i].id);
        assert_int_equal(name_parse(&n, text), ERR_OK);
        synth_match(&s, &ALL, &guard, &n, 2);
        if (s.kind != CASES[i].want)
            fail_msg("%s: kind %d", CASES[i].why, (int)s.kind);
    }
    suspended_free(guard.suspended);
}

static void every_byte_of_an_id_is_looked_at(void **state)
{
    uint8_t label[SYNTH_ID_LEN];
    (void)state;
    for (unsigned i = 0; i < SYNTH_ID_LEN; i++) {
        for (unsigned c = 0; c < 256; c++) {
            memset(label, 'a', sizeof label);
            label[i] = (uint8_t)c;
            bool want = (c >= 'a' && c <= 'z') || (c >= '2' && c <= '7');
            assert_int_equal(synth_is_id((struct span){ label, sizeof label }), want);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_policies),
        cmocka_unit_test(tags),
        cmocka_unit_test(suspended_ids_and_addresses),
        cmocka_unit_test(every_byte_of_an_id_is_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
