#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "provisiond/core/relayticket.h"

#define K1 "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define K2 "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
#define EXPIRES 2000000000

static const struct devid ID = { "abcdefghijklmnopqrstuvwxyz234567" };
static const struct devid OTHER = { "abcdefghijklmnopqrstuvwxyz234566" };

static struct relayticket_keys parse(const char *text)
{
    struct relayticket_keys keys;
    struct err_info info = { "" };
    assert_int_equal(relayticket_keys_parse(&keys, span_str(text), &info), ERR_OK);
    return keys;
}

static void key_files(void **state)
{
    static const struct {
        const char *why, *text;
        enum err want;
        unsigned n;
    } CASES[] = {
        { "one key", K1 "\n", ERR_OK, 1 },
        { "no line end", K1, ERR_OK, 1 },
        { "two, for rotation, and a comment", "# new\n" K1 "\n\n" K2 " # old\n", ERR_OK, 2 },
        { "three", K1 "\n" K2 "\n" K1 "\n", ERR_CONFIG, 0 },
        { "none", "# nothing\n", ERR_CONFIG, 0 },
        { "short", "0011\n", ERR_CONFIG, 0 },
        { "not hexadecimal", "g" K1, ERR_CONFIG, 0 },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct relayticket_keys keys = { .n = 0 };
        struct err_info info = { "" };
        if (relayticket_keys_parse(&keys, span_str(CASES[i].text), &info) != CASES[i].want ||
            keys.n != CASES[i].n)
            fail_msg("%s: %u keys, %s", CASES[i].why, keys.n, info.text);
        assert_null(strstr(info.text, "0011"));
    }
}

static void names(void **state)
{
    (void)state;
    assert_true(relayticket_is_name("eu1"));
    assert_true(relayticket_is_name("eu-west-1"));
    assert_false(relayticket_is_name(""));
    assert_false(relayticket_is_name("eu 1"));
    assert_false(relayticket_is_name("EU"));
    assert_false(relayticket_is_name("eu\n1"));
}

static void tickets(void **state)
{
    struct relayticket_keys made = parse(K1 "\n"), rotated = parse(K2 "\n" K1 "\n"),
                            strange = parse(K2 "\n");
    char good[RELAYTICKET_TEXT_MAX], later[RELAYTICKET_TEXT_MAX], forged[RELAYTICKET_TEXT_MAX];
    (void)state;
    assert_int_equal(relayticket_make(good, &made, "eu1", &ID, EXPIRES), ERR_OK);
    assert_int_equal(relayticket_make(later, &made, "eu1", &ID, EXPIRES + 1), ERR_OK);
    /* the expiry of one with the mac of the other */
    memcpy(forged, good, sizeof forged);
    memcpy(forged, later, strcspn(later, "."));
    const struct {
        const char *why, *text, *relay;
        const struct devid *id;
        const struct relayticket_keys *keys;
        int64_t now_s;
        enum err want;
    } CASES[] = {
        { "as made", good, "eu1", &ID, &made, EXPIRES - 1, ERR_OK },
        { "the second key is accepted", good, "eu1", &ID, &rotated, 1, ERR_OK },
        { "a key that we do not have", good, "eu1", &ID, &strange, 1, ERR_DENIED },
        { "its last second is over", good, "eu1", &ID, &made, EXPIRES, ERR_TIMEOUT },
        { "another relay", good, "eu2", &ID, &made, 1, ERR_DENIED },
        { "another device", good, "eu1", &OTHER, &made, 1, ERR_DENIED },
        { "a later expiry", forged, "eu1", &ID, &made, 1, ERR_DENIED },
        { "empty", "", "eu1", &ID, &made, 1, ERR_INVALID },
        { "no mac", "2000000000.", "eu1", &ID, &made, 1, ERR_INVALID },
        { "short mac", "2000000000.AAAA", "eu1", &ID, &made, 1, ERR_INVALID },
        { "no expiry", ".AAAA", "eu1", &ID, &made, 1, ERR_INVALID },
        { "endless digits", "99999999999999999999.AAAA", "eu1", &ID, &made, 1, ERR_INVALID },
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        int64_t expires_at = 0;
        enum err e = relayticket_check(CASES[i].keys, CASES[i].relay, CASES[i].id,
                                       span_str(CASES[i].text), CASES[i].now_s, &expires_at);
        if (e != CASES[i].want || expires_at != (e == ERR_OK ? EXPIRES : 0))
            fail_msg("%s: %s", CASES[i].why, err_name(e));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_files),
        cmocka_unit_test(names),
        cmocka_unit_test(tickets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
