#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dnsd/core/synth.h"

#define ID "abcdefghijklmnopqrstuvwxyz234567"
#define Z ".direct.example"

static const struct synth_policy TAGGED = { SYNTH_PUBLIC_TAGGED, false },
                                 ALL = { SYNTH_PUBLIC_ALL, false },
                                 NONE = { SYNTH_PUBLIC_NONE, false },
                                 LOOP = { SYNTH_PUBLIC_NONE, true };

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
        { "a tag is not needed: no such name", "pksjz766e-8-8-8-8." ID Z, &ALL, SYNTH_MISSING, 0 },
        { "loopback", "127-0-0-1." ID Z, &LOOP, SYNTH_ADDRESS, 86400 },
        { "loopback, IPv6", "0--1." ID Z, &LOOP, SYNTH_ADDRESS, 86400 },
        { "loopback is not public", "127-0-0-1." ID Z, &ALL, SYNTH_MISSING, 0 },
        { "::1 is not public", "0--1." ID Z, &ALL, SYNTH_MISSING, 0 },
        { "metadata service", "169-254-169-254." ID Z, &ALL, SYNTH_MISSING, 0 },
        { "link-local IPv6", "fe80--1." ID Z, &ALL, SYNTH_MISSING, 0 },
        { "IPv4-mapped", "0--ffff-a00-5." ID Z, &ALL, SYNTH_MISSING, 0 },
        { "multicast", "224-0-0-1." ID Z, &ALL, SYNTH_MISSING, 0 },
        { "unspecified", "0-0-0-0." ID Z, &ALL, SYNTH_MISSING, 0 },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct name n;
        struct synth s = { .ttl_s = 0 };
        assert_int_equal(name_parse(&n, CASES[i].name), ERR_OK);
        synth_match(&s, CASES[i].policy, &n, 2);
        if (s.kind != CASES[i].want || (s.kind == SYNTH_ADDRESS && s.ttl_s != CASES[i].ttl_s))
            fail_msg("%s: kind %d, TTL %u", CASES[i].why, (int)s.kind, (unsigned)s.ttl_s);
    }
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
        cmocka_unit_test(every_byte_of_an_id_is_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
