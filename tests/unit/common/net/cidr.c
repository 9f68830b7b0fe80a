#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/net/addr.h"
#include "common/net/cidr.h"

static const struct {
    const char *why, *range, *address;
    bool in;
} CASES[] = {
    { "the address itself", "192.0.2.1", "192.0.2.1", true },
    { "another one", "192.0.2.1", "192.0.2.2", false },
    { "in a /24", "192.0.2.0/24", "192.0.2.255", true },
    { "beside a /24", "192.0.2.0/24", "192.0.3.0", false },
    { "the last of a /29", "192.0.2.8/29", "192.0.2.15", true },
    { "after a /29", "192.0.2.8/29", "192.0.2.16", false },
    { "all of IPv4", "0.0.0.0/0", "203.0.113.9", true },
    { "all of IPv4 has no IPv6", "0.0.0.0/0", "2001:db8::1", false },
    { "all of IPv6 has no IPv4", "::/0", "203.0.113.9", false },
    { "in a /32", "2001:db8::/32", "2001:db8:ffff::1", true },
    { "beside a /32", "2001:db8::/32", "2001:db9::", false },
    { "in a /65", "2001:db8::/65", "2001:db8::7fff:0:0:0", true },
    { "after a /65", "2001:db8::/65", "2001:db8::8000:0:0:0", false },
    { "mapped is IPv4", "10.0.0.0/8", "::ffff:10.1.2.3", true },
    { "mapped is not IPv6", "::/0", "::ffff:10.1.2.3", false },
};

static void what_is_in_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct cidr c;
        struct sockaddr_storage ss = { .ss_family = AF_INET };
        struct sockaddr_in *sin = (struct sockaddr_in *)&ss;
        struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)&ss;
        assert_int_equal(cidr_parse(&c, CASES[i].range, NULL), ERR_OK);
        if (inet_pton(AF_INET, CASES[i].address, &sin->sin_addr) != 1) {
            ss.ss_family = AF_INET6;
            assert_int_equal(inet_pton(AF_INET6, CASES[i].address, &sin6->sin6_addr), 1);
        }
        if (cidr_contains(&c, (struct sockaddr *)&ss) != CASES[i].in)
            fail_msg("%s", CASES[i].why);
    }
}

static void a_local_socket_is_in_none(void **state)
{
    struct cidr c;
    struct sockaddr sa = { .sa_family = AF_UNIX };
    (void)state;
    assert_int_equal(cidr_parse(&c, "0.0.0.0/0", NULL), ERR_OK);
    assert_false(cidr_contains(&c, &sa));
}

static const struct {
    const char *why, *text;
} BAD[] = {
    { "empty", "" },
    { "a name", "localhost" },
    { "no bits", "10.0.0.0/" },
    { "too many", "10.0.0.0/33" },
    { "too many for IPv6", "::/129" },
    { "not a number", "10.0.0.0/8x" },
    { "a sign", "10.0.0.0/+8" },
    { "an address within a range", "10.0.0.1/8" },
    { "the same in IPv6", "2001:db8::1/64" },
    { "a port", "10.0.0.1:80" },
    { "brackets", "[::1]" },
    { "long", "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000/8" },
};

static void what_is_no_range(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
        struct cidr c;
        struct err_info info = { "" };
        if (cidr_parse(&c, BAD[i].text, &info) != ERR_INVALID || info.text[0] == 0)
            fail_msg("%s", BAD[i].why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_in_it),
        cmocka_unit_test(a_local_socket_is_in_none),
        cmocka_unit_test(what_is_no_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
