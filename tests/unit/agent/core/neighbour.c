/* Which clients of the device's page are on a network of ours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>

#include "agent/core/neighbour.h"
#include "common/base/attr.h"

/* 192.88.99.7/25, 198.51.100.9/32 (PPP), 3ffe:1::7/128 (DHCPv6), and 203.0.113.5/24 that is down */
static const struct worth_address OWN[] = {
    { .ip = { 4, { 192, 88, 99, 7 } }, .prefix_bits = 25, .up = true },
    { .ip = { 4, { 198, 51, 100, 9 } }, .prefix_bits = 32, .up = true },
    { .ip = { 6, { 0x3f, 0xfe, 0, 1, [15] = 7 } }, .prefix_bits = 128, .up = true },
    { .ip = { 4, { 203, 0, 113, 5 } }, .prefix_bits = 24, .up = false },
};

static const struct {
    const char *why, *peer;
    bool range, link;
} CASES[] = {
    { "loopback", "127.0.0.53", true, false },
    { "private", "10.255.255.255", true, false },
    { "private", "172.31.0.1", true, false },
    { "beyond it", "172.32.0.1", false, false },
    { "private", "192.168.7.5", true, false },
    { "link-local", "169.254.3.4", true, false },
    { "a carrier's", "100.64.0.1", false, false },
    { "public", "192.0.2.1", false, false },
    { "the subnet", "192.88.99.127", false, true },
    { "beyond it", "192.88.99.128", false, false },
    { "our own", "198.51.100.9", false, true },
    { "the next customer", "198.51.100.8", false, false },
    { "of an interface that is down", "203.0.113.9", false, false },
    { "loopback", "::1", true, false },
    { "not loopback", "::2", false, false },
    { "link-local", "fe80::1", true, false },
    { "its last", "febf::1", true, false },
    { "beyond it", "fec0::1", false, false },
    { "ULA", "fd00::1", true, false },
    { "the same /64", "3ffe:1::9", false, true },
    { "another /64", "3ffe:1:0:1::9", false, false },
    { "private, mapped", "::ffff:10.0.0.1", true, false },
    { "the subnet, mapped", "::ffff:192.88.99.9", false, true },
    { "public, mapped", "::ffff:192.0.2.1", false, false },
};

static void test_peers(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        uint8_t bytes[16];
        bool four = inet_pton(AF_INET, CASES[i].peer, bytes) == 1;
        struct ip ip;
        print_message("%s: %s\n", CASES[i].peer, CASES[i].why);
        assert_true(four || inet_pton(AF_INET6, CASES[i].peer, bytes) == 1);
        assert_true(neighbour_ip(&ip, (struct span){ bytes, four ? 4 : 16 }));
        assert_int_equal(neighbour_by_range(&ip), CASES[i].range);
        assert_int_equal(neighbour_by_link(&ip, OWN, ARRAY_LEN(OWN)), CASES[i].link);
        assert_false(neighbour_by_link(&ip, OWN, 0));
    }
}

static void test_no_ip(void **state)
{
    struct ip ip;
    (void)state;
    assert_false(neighbour_ip(&ip, (struct span){ NULL, 0 }));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_peers),
                                        cmocka_unit_test(test_no_ip) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
