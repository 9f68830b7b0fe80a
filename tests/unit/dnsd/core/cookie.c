#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/base/attr.h"
#include "dnsd/core/cookie.h"

static size_t from_hex(uint8_t *out, const char *hex)
{
    size_t n = strlen(hex) / 2;
    for (size_t i = 0; i < n; i++) {
        unsigned v = 0;
        for (unsigned k = 0; k < 2; k++) {
            char c = hex[2 * i + k];
            v = v << 4 | (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
        }
        out[i] = (uint8_t)v;
    }
    return n;
}

static struct cookie_keys keys_of(const char *first, const char *second)
{
    struct cookie_keys keys = { .n = second == NULL ? 1 : 2 };
    (void)from_hex(keys.key[0], first);
    if (second != NULL)
        (void)from_hex(keys.key[1], second);
    return keys;
}

#define KEY "e5e973e5a6b2a43f48e7dc849e37bfcf"
#define OLD "dd3bdf9344b678b185a6f5cb60fca715"
#define NEW "445536bcd2513298075a5d379663c962"
#define IP4 "c6336464"
#define IP6 "20010db80220000159ded0f4876982b8"

/* [RFC 9018 appendix A] */
static void what_other_servers_make(void **state)
{
    static const struct {
        const char *why, *key, *ip, *client;
        int64_t now_s;
        const char *want;
    } CASES[] = {
        { "A.1", KEY, IP4, "2464c4abcf10c957", 1559731985,
          "2464c4abcf10c957010000005cf79f111f8130c3eee29480" },
        { "A.2", KEY, IP4, "2464c4abcf10c957", 1559734385,
          "2464c4abcf10c957010000005cf7a871d4a564a1442aca77" },
        { "A.3", KEY, "cb0071cb", "fc93fc62807ddb86", 1559734700,
          "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e" },
        { "A.4, the old secret", OLD, IP6, "22681ab97d52c298", 1559741817,
          "22681ab97d52c298010000005cf7c57926556bd0934c72f8" },
        { "A.4, the new one", NEW, IP6, "22681ab97d52c298", 1559741961,
          "22681ab97d52c298010000005cf7c609a6bb79d16625507a" },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct cookie_keys keys = keys_of(CASES[i].key, NULL);
        uint8_t ip[16], client[COOKIE_LEN], want[COOKIE_LEN], got[COOKIE_LEN];
        struct span where = { ip, from_hex(ip, CASES[i].ip) };
        struct span option = { client, from_hex(client, CASES[i].client) };
        assert_int_equal(from_hex(want, CASES[i].want), COOKIE_LEN);
        cookie_make(got, &keys, option, where, CASES[i].now_s, false);
        if (memcmp(got, want, sizeof got) != 0)
            fail_msg("%s", CASES[i].why);
        assert_true(
            cookie_is_valid(&keys, (struct span){ want, sizeof want }, where, CASES[i].now_s));
    }
}

static void what_is_valid(void **state)
{
    static const int64_t AT = 1559731985;
    static const char GOOD[] = "2464c4abcf10c957010000005cf79f111f8130c3eee29480";
    static const struct {
        const char *why, *first, *second, *ip, *option;
        int64_t later_s;
        bool want, kept;
    } CASES[] = {
        { "at once", KEY, NULL, IP4, GOOD, 0, true, true },
        { "after half an hour", KEY, NULL, IP4, GOOD, 1800, true, true },
        { "then it is renewed", KEY, NULL, IP4, GOOD, 1801, true, false },
        { "after an hour", KEY, NULL, IP4, GOOD, 3600, true, false },
        { "too old", KEY, NULL, IP4, GOOD, 3601, false, false },
        { "of a server whose clock is ahead", KEY, NULL, IP4, GOOD, -300, true, false },
        { "too far ahead", KEY, NULL, IP4, GOOD, -301, false, false },
        { "the second secret", OLD, KEY, IP4, GOOD, 0, true, true },
        { "of no secret of ours", OLD, NEW, IP4, GOOD, 0, false, false },
        { "from another address", KEY, NULL, "c6336465", GOOD, 0, false, false },
        { "from another family", KEY, NULL, IP6, GOOD, 0, false, false },
        { "another client cookie", KEY, NULL, IP4,
          "2464c4abcf10c958010000005cf79f111f8130c3eee29480", 0, false, false },
        { "a bit of the hash", KEY, NULL, IP4, "2464c4abcf10c957010000005cf79f111f8130c3eee29481",
          0, false, false },
        { "another version", KEY, NULL, IP4, "2464c4abcf10c957020000005cf79f111f8130c3eee29480", 0,
          false, false },
        { "another reserved byte", KEY, NULL, IP4,
          "2464c4abcf10c957010000015cf79f111f8130c3eee29480", 0, false, false },
        { "half a cookie", KEY, NULL, IP4, "2464c4abcf10c957", 0, false, false },
        { "one byte too few", KEY, NULL, IP4, "2464c4abcf10c957010000005cf79f111f8130c3eee294", 0,
          false, false },
        { "one byte too many", KEY, NULL, IP4, "2464c4abcf10c957010000005cf79f111f8130c3eee2948000",
          0, false, false },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct cookie_keys keys = keys_of(CASES[i].first, CASES[i].second);
        uint8_t ip[16], bytes[COOKIE_LEN_MAX], got[COOKIE_LEN];
        struct span where = { ip, from_hex(ip, CASES[i].ip) };
        struct span option = { bytes, from_hex(bytes, CASES[i].option) };
        int64_t now_s = AT + CASES[i].later_s;
        bool valid = cookie_is_valid(&keys, option, where, now_s);
        cookie_make(got, &keys, option, where, now_s, valid);
        bool kept = option.len == COOKIE_LEN && memcmp(got, bytes, COOKIE_LEN) == 0;
        if (valid != CASES[i].want || kept != CASES[i].kept)
            fail_msg("%s: valid %d, given back as it was %d", CASES[i].why, valid, kept);
        struct span made = { got, COOKIE_LEN };
        assert_true(cookie_is_valid(&keys, made, where, now_s));
    }
}

/* The 32 bits of seconds wrap in 2106. */
static void the_time_wraps(void **state)
{
    struct cookie_keys keys = keys_of(KEY, NULL);
    uint8_t ip[4] = { 192, 0, 2, 1 }, client[8] = { 1 }, made[COOKIE_LEN];
    struct span where = { ip, 4 }, option = { made, COOKIE_LEN };
    int64_t end = INT64_C(1) << 32;
    (void)state;
    cookie_make(made, &keys, (struct span){ client, 8 }, where, end - 10, false);
    assert_true(cookie_is_valid(&keys, option, where, end + 10));
    assert_false(cookie_is_valid(&keys, option, where, end + 3600));
}

static void lengths(void **state)
{
    (void)state;
    for (size_t len = 0; len < 100; len++)
        assert_int_equal(cookie_len_is_good(len), len == 8 || (len >= 16 && len <= 40));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_other_servers_make),
        cmocka_unit_test(what_is_valid),
        cmocka_unit_test(the_time_wraps),
        cmocka_unit_test(lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
