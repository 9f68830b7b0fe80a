/* The name servers in what people and programs write into resolv.conf. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "agent/core/resolvconf.h"
#include "common/base/attr.h"

/* `want`: the servers, each with a blank behind it. */
static const struct {
    const char *why, *text, *want;
} CASES[] = {
    { "nothing", "", "" },
    { "one", "nameserver 192.168.1.1\n", "192.168.1.1 " },
    { "both families, no line end", "nameserver 10.0.0.1\nnameserver fd00::1",
      "10.0.0.1 fd00::1 " },
    { "tabs, blanks, carriage return", "  nameserver\t 10.0.0.1 \r\n", "10.0.0.1 " },
    { "other lines and comments",
      "# nameserver 1.1.1.1\n;nameserver 1.1.1.2\nsearch lan\noptions edns0\nnameserver 10.0.0.1\n",
      "10.0.0.1 " },
    { "something behind it", "nameserver 10.0.0.1 # the router\n", "10.0.0.1 " },
    { "twice the same", "nameserver 10.0.0.1\nnameserver 10.0.0.1\n", "10.0.0.1 " },
    { "link-local with its interface", "nameserver fe80::1%eth0\n", "fe80::1%eth0 " },
    { "an interface that cannot be", "nameserver fe80::1%abcdefghijklmnopqrs\n", "" },
    { "names and nonsense", "nameserver router.lan\nnameserver\nnameserver 10.0.0\n", "" },
    { "a keyword that only begins so", "nameservers 10.0.0.1\n", "" },
    { "more than are kept",
      "nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver 10.0.0.4\n"
      "nameserver 10.0.0.5\nnameserver 10.0.0.6\nnameserver 10.0.0.7\nnameserver 10.0.0.8\n"
      "nameserver 10.0.0.9\n",
      "10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6 10.0.0.7 10.0.0.8 " },
};

static void test_parse(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct nameserver found[RESOLVCONF_MAX];
        char got[1024] = "", one[INET6_ADDRSTRLEN];
        print_message("%s\n", CASES[i].why);
        size_t n = resolvconf_parse(found, span_str(CASES[i].text));
        for (size_t k = 0; k < n; k++) {
            size_t len = strlen(got);
            assert_non_null(inet_ntop(found[k].ip.family == 4 ? AF_INET : AF_INET6,
                                      found[k].ip.bytes, one, sizeof one));
            (void)snprintf(got + len, sizeof got - len, "%s%s%s ", one,
                           found[k].interface[0] != 0 ? "%" : "", found[k].interface);
        }
        assert_string_equal(got, CASES[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_parse) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
