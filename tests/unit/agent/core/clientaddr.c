/* Whom a relay may name as a client. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <string.h>

#include "agent/core/clientaddr.h"
#include "common/base/attr.h"

static const struct {
    const char *why, *text;
    bool good;
} ROWS[] = {
    { "public", "8.8.4.4", true },
    { "at home: the relay may be there, too", "192.168.1.5", true },
    { "behind a carrier", "100.64.0.1", true },
    { "next to link-local", "169.253.255.255", true },
    { "the last that is none of a group", "223.255.255.255", true },
    { "unspecified", "0.0.0.0", false },
    { "this network", "0.1.2.3", false },
    { "loopback", "127.0.0.1", false },
    { "loopback, its end", "127.255.255.255", false },
    { "link-local", "169.254.0.1", false },
    { "multicast", "224.0.0.251", false },
    { "reserved", "240.0.0.1", false },
    { "broadcast", "255.255.255.255", false },
    { "public", "2001:db8::1", true },
    { "at home", "fd00::1", true },
    { "next to link-local", "fec0::1", true },
    { "unspecified", "::", false },
    { "loopback", "::1", false },
    { "link-local", "fe80::1", false },
    { "link-local, its end", "febf::1", false },
    { "multicast", "ff02::fb", false },
    { "loopback, mapped", "::ffff:127.0.0.1", false },
    { "public, mapped: no client of IPv4 is told so", "::ffff:8.8.4.4", false },
    { "loopback, compatible", "::127.0.0.1", false },
};

static void test_addresses(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        struct ip ip = { .family = strchr(ROWS[i].text, ':') != NULL ? 6 : 4 };
        print_message("%s: %s\n", ROWS[i].text, ROWS[i].why);
        assert_int_equal(inet_pton(ip.family == 6 ? AF_INET6 : AF_INET, ROWS[i].text, ip.bytes), 1);
        assert_int_equal(clientaddr_is_good(&ip), ROWS[i].good);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
