#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "provisiond/core/network.h"

static const struct {
    const char *why, *in, *address, *network;
} CASES[] = {
    { "IPv4 is its own network", "192.88.99.7", "192.88.99.7", "192.88.99.7" },
    { "IPv6 is a /64", "3ffe:1:2:3:4:5:6:7", "3ffe:1:2:3:4:5:6:7", "3ffe:1:2:3::/64" },
    { "zeros are left out once", "2001:db8::1", "2001:db8::1", "2001:db8::/64" },
    { "the prefix ends in a zero", "2a00:1:2:0:ffff::", "2a00:1:2:0:ffff::", "2a00:1:2::/64" },
    { "mapped is IPv4", "::ffff:10.1.2.3", "10.1.2.3", "10.1.2.3" },
    { "the longest", "2001:1db8:2222:3333:4444:5555:6666:7777",
      "2001:1db8:2222:3333:4444:5555:6666:7777", "2001:1db8:2222:3333::/64" },
};

static void texts(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        char text[NETWORK_TEXT_MAX];
        struct ip ip, again;
        assert_true(network_parse(&ip, CASES[i].in));
        network_address_text(&ip, text);
        if (strcmp(text, CASES[i].address) != 0)
            fail_msg("%s: %s", CASES[i].why, text);
        assert_true(network_parse(&again, text) && network_equal(&ip, &again));
        again.bytes[3] ^= 1;
        assert_false(network_equal(&ip, &again));
        network_text(&ip, text);
        if (strcmp(text, CASES[i].network) != 0)
            fail_msg("%s: %s", CASES[i].why, text);
    }
}

static void what_is_no_address(void **state)
{
    static const char *const TEXTS[] = { "",       "1.2.3", "1.2.3.4.5",  "1.2.3.4 ",
                                         "::1%lo", "[::1]", "192-168-1-5" };
    struct ip ip;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(TEXTS); i++)
        assert_false(network_parse(&ip, TEXTS[i]));
}

static void no_other_length_is_an_address(void **state)
{
    uint8_t bytes[20] = { 0 };
    struct ip ip;
    (void)state;
    for (size_t len = 0; len <= sizeof bytes; len++)
        assert_int_equal(network_ip(&ip, (struct span){ bytes, len }), len == 4 || len == 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts),
        cmocka_unit_test(what_is_no_address),
        cmocka_unit_test(no_other_length_is_an_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
