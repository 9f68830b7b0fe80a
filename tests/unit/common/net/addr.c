#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/net/addr.h"

static void test_parse(void **state)
{
    static const struct {
        const char *why, *text, *want; /* NULL: refused */
    } CASES[] = {
        { "IPv4", "192.0.2.1:53", "192.0.2.1:53" },
        { "IPv6", "[2001:db8::1]:53", "[2001:db8::1]:53" },
        { "IPv6 is written its one way", "[2001:0DB8:0::0001]:053", "[2001:db8::1]:53" },
        { "any", "0.0.0.0:0", "0.0.0.0:0" },
        { "highest port", "[::]:65535", "[::]:65535" },
        { "port too high", "192.0.2.1:65536", NULL },
        { "port of six digits", "192.0.2.1:000053", NULL },
        { "no port", "192.0.2.1", NULL },
        { "empty port", "192.0.2.1:", NULL },
        { "port not a number", "192.0.2.1:5x", NULL },
        { "signed port", "192.0.2.1:+53", NULL },
        { "a name", "localhost:53", NULL },
        { "IPv6 without brackets", "2001:db8::1:53", NULL },
        { "bracket not closed", "[::1:53", NULL },
        { "text after the bracket", "[::1]x:53", NULL },
        { "IPv4 in brackets", "[192.0.2.1]:53", NULL },
        { "a zone id", "[fe80::1%eth0]:53", NULL },
        { "empty", "", NULL },
        { "only a colon", ":53", NULL },
        { "very long", "[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]:53", NULL },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct addr a;
        char text[ADDR_TEXT_MAX] = "";
        enum err e = addr_parse(&a, CASES[i].text, NULL);
        if (e == ERR_OK)
            addr_format(&a, text);
        if (CASES[i].want == NULL && e != ERR_INVALID)
            fail_msg("%s: accepted", CASES[i].why);
        if (CASES[i].want != NULL)
            assert_string_equal(text, CASES[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_parse) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
