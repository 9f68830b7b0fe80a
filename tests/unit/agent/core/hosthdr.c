/* Which Host headers mean this device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "agent/core/hosthdr.h"
#include "common/base/attr.h"

#define SUFFIX ".abcdefghijklmnopqrstuvwxyz234567.direct.example"

static const struct {
    const char *why, *host;
    bool want;
} CASES[] = {
    { "no header", NULL, false },
    { "an empty one", "", false },
    { "an IPv4 address", "192.168.1.5", true },
    { "with its port", "192.168.1.5:8480", true },
    { "an IPv6 address", "[fe80::1]", true },
    { "with its port", "[::1]:8480", true },
    { "brackets that do not close", "[::1", false },
    { "something behind the brackets", "[::1]x", false },
    { "a name of one label", "nas:80", true },
    { "mDNS", "nas.local", true },
    { "our name, any case", "X" SUFFIX, true },
    { "our bare name", &SUFFIX[1], true },
    { "ours without the dot", "evilabcdefghijklmnopqrstuvwxyz234567.direct.example", false },
    { "another device's", "x.bbcdefghijklmnopqrstuvwxyz234567.direct.example", false },
    { "ours in front", "x" SUFFIX ".evil.example", false },
    { "an address in front", "127.0.0.1.evil.example", false },
    { "a number that some take for an address", "2130706433.evil.example", false },
};

static void test_hosts(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        print_message("%s\n", CASES[i].why);
        assert_int_equal(hosthdr_is_ours(CASES[i].host, SUFFIX), CASES[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_hosts) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
