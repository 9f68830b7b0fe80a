#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/core/relaygrant.h"

#define ID "abcdefghijklmnopqrstuvwxyz234567"
#define RELAY_ID "765432zyxwvutsrqponmlkjihgfedcba"
#define GOOD                                                                                       \
    "\"name\":\"eu1\",\"id\":\"" RELAY_ID "\",\"control\":\"relay1.example:8445\","                \
    "\"data\":\"relay1.example:8446\",\"address\":\"192.88.99.1\",\"port\":443,"                   \
    "\"host\":\"pabcdefgh-192-88-99-1." ID ".direct.example\","                                    \
    "\"ticket\":\"2000000000.AAAA\",\"ticket_expires_at\":2000000000"

static enum err parse(struct relaygrant *out, const char *members)
{
    char body[4096];
    (void)snprintf(body, sizeof body, "{\"observed\":\"192.88.99.7\",\"relay\":%s}", members);
    return relaygrant_parse(out, span_str(body), ID, "direct.example");
}

static void a_good_one(void **state)
{
    struct relaygrant g, other;
    (void)state;
    assert_int_equal(parse(&g, "{" GOOD "}"), ERR_OK);
    assert_string_equal(g.name, "eu1");
    assert_string_equal(g.id.text, RELAY_ID);
    assert_string_equal(g.control, "relay1.example:8445");
    assert_int_equal(g.data_port, 8446);
    assert_string_equal(g.ticket, "2000000000.AAAA");
    assert_string_equal(g.url, "https://pabcdefgh-192-88-99-1." ID ".direct.example/");
    other = g;
    (void)snprintf(other.ticket, sizeof other.ticket, "fresh");
    assert_true(relaygrant_same(&g, &other));
    other.data_port++;
    assert_false(relaygrant_same(&g, &other));
}

/* Each puts `new` in the place of `old` in a good one. */
static void others(void **state)
{
    static const struct {
        const char *why, *old, *new;
        enum err want;
    } CASES[] = {
        { "an address", "relay1.example:8445\",\"data\":\"relay1.example:",
          "[::1]:1\",\"data\":\"[::1]:", ERR_OK },
        { "another port for browsers", "443", "8443", ERR_OK },
        { "members that we do not know", "\"name\"", "\"colour\":1,\"name\"", ERR_OK },
        { "no port to dial back to", ":8446", "", ERR_INVALID },
        { "a port that is none", ":8446", ":84460", ERR_INVALID },
        { "text after the port", ":8446", ":8446/x", ERR_INVALID },
        { "another host to dial back to", "relay1.example:8446", "victim.example:8446",
          ERR_INVALID },
        { "a host with a path", "relay1.example:8445", "a/b:8445", ERR_INVALID },
        { "a host with a user", "relay1.example:8445", "a@b:8445", ERR_INVALID },
        { "no id", "\"id\"", "\"ID\"", ERR_INVALID },
        { "an id that is none", RELAY_ID, "1234", ERR_INVALID },
        { "a name of another device", "." ID, "." RELAY_ID, ERR_INVALID },
        { "a name elsewhere", ".direct.example", ".direct.example.com", ERR_INVALID },
        { "a ticket with a line end", "2000000000.AAAA", "2000\\nAAAA", ERR_INVALID },
        { "port 0", "443", "0", ERR_INVALID },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        static const char ALL[] = "{" GOOD "}";
        char text[2048];
        struct relaygrant g;
        const char *at = strstr(ALL, CASES[i].old);
        assert_non_null(at);
        (void)snprintf(text, sizeof text, "%.*s%s%s", (int)(at - ALL), ALL, CASES[i].new,
                       at + strlen(CASES[i].old));
        enum err e = parse(&g, text);
        if (e != CASES[i].want)
            fail_msg("%s: %s", CASES[i].why, err_name(e));
    }
}

static void none(void **state)
{
    struct relaygrant g;
    (void)state;
    assert_int_equal(parse(&g, "null"), ERR_NOTFOUND);
    assert_int_equal(relaygrant_parse(&g, span_str("{}"), ID, "direct.example"), ERR_NOTFOUND);
    assert_int_equal(relaygrant_parse(&g, span_str("[]"), ID, "direct.example"), ERR_INVALID);
    assert_int_equal(relaygrant_parse(&g, span_str("x"), ID, "direct.example"), ERR_INVALID);
    assert_int_equal(parse(&g, "\"eu1\""), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_one),
        cmocka_unit_test(others),
        cmocka_unit_test(none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
