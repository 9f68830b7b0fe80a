#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/dns/iplabel.h"

static void labels(void **state)
{
    static const struct {
        const char *why, *label, *want; /* inet_ntop's text; NULL: not an address */
    } CASES[] = {
        { "dashed IPv4", "192-168-1-5", "192.168.1.5" },
        { "lowest", "0-0-0-0", "0.0.0.0" },
        { "highest", "255-255-255-255", "255.255.255.255" },
        { "octet of 256", "1-2-3-256", NULL },
        { "octet of 999", "1-2-3-999", NULL },
        { "octet of four digits", "1-2-3-1000", NULL },
        { "leading zero", "192-168-01-5", NULL },
        { "two zeros", "00-1-2-3", NULL },
        { "three octets", "192-168-1", NULL },
        { "five octets", "1-2-3-4-5", NULL },
        { "dots", "1.2.3.4", NULL },
        { "final hyphen", "1-2-3-4-", NULL },
        { "leading hyphen", "-1-2-3-4", NULL },
        { "empty octet", "1--2-3", "1::2:3" },
        { "empty octets are IPv6's gap", "1--4", "1::4" },
        { "sign", "+1-2-3-4", NULL },
        { "loopback", "0--1", "::1" },
        { "unspecified", "0--0", "::" },
        { "trailing gap", "2001-db8--0", "2001:db8::" },
        { "middle gap", "fd00--1", "fd00::1" },
        { "all eight groups", "fd00-1-2-3-4-5-6-7", "fd00:1:2:3:4:5:6:7" },
        { "upper case", "FD00--A", "fd00::a" },
        { "leading zeros in a group", "fd00--0001", "fd00::1" },
        { "gap for one group", "1-2-3--5-6-7-8", "1:2:3:0:5:6:7:8" },
        { "gap for none", "1-2-3-4--5-6-7-8", NULL },
        { "five digits", "fd000--1", NULL },
        { "five digits with zeros", "00001--1", NULL },
        { "two gaps", "fd00--1--2", NULL },
        { "three hyphens", "fd00---1", NULL },
        { "gap at the start", "--1", NULL },
        { "gap at the end", "fd00--", NULL },
        { "gap alone", "--", NULL },
        { "hyphen at the end", "fd00--1-", NULL },
        { "seven groups, no gap", "1-2-3-4-5-6-7", NULL },
        { "nine groups", "1-2-3-4-5-6-7-8-9", NULL },
        { "nine groups with a gap", "1-2-3-4-5-6-7-8--9", NULL },
        { "not hexadecimal", "fd00--g", NULL },
        { "zone id", "fe80--1%eth0", NULL },
        { "dotted tail", "0--ffff-192.168.1.1", NULL },
        { "colons", "fd00::1", NULL },
        { "empty", "", NULL },
        { "one hyphen", "-", NULL },
        { "a number", "5", NULL },
        { "too long", "00fd-00fd-00fd-00fd-00fd-00fd-00fd-00fd0", NULL },
        { "the longest", "00fd-00fd-00fd-00fd-00fd-00fd-00fd-00fd", "fd:fd:fd:fd:fd:fd:fd:fd" },
        { "a word", "www", NULL },
        { "a tagged name is not an address here", "pksjz766e-8-8-8-8", NULL },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct ip ip = { .family = 0 };
        char text[INET6_ADDRSTRLEN] = "";
        enum err e = iplabel_decode(&ip, span_str(CASES[i].label));
        if (e == ERR_OK)
            (void)inet_ntop(ip.family == 4 ? AF_INET : AF_INET6, ip.bytes, text, sizeof text);
        if ((e == ERR_OK) != (CASES[i].want != NULL) ||
            (e == ERR_OK && strcmp(text, CASES[i].want) != 0))
            fail_msg("%s: '%s' is '%s' (%s)", CASES[i].why, CASES[i].label, text, err_name(e));
    }
}

static void spelling(void **state)
{
    static const struct {
        const char *why, *address, *want;
    } CASES[] = {
        { "IPv4", "192.168.1.5", "192-168-1-5" },
        { "::1 must not begin with a hyphen", "::1", "0--1" },
        { "2001:db8:: must not end with one", "2001:db8::", "2001-db8--0" },
        { "all zeros", "::", "0--0" },
        { "no leading zeros", "2001:0db8::0001", "2001-db8--1" },
        { "one zero group is not cut", "1:0:3:4:5:6:7:8", "1-0-3-4-5-6-7-8" },
        { "the longest run", "1:0:0:4:0:0:0:8", "1-0-0-4--8" },
        { "the first of two equal runs", "1:0:0:4:5:0:0:8", "1--4-5-0-0-8" },
        { "a run at the start", "0:0:3:4:5:6:7:8", "0--3-4-5-6-7-8" },
        { "a run at the end", "1:2:3:4:5:6:0:0", "1-2-3-4-5-6--0" },
        { "lower case", "FD00::ABCD", "fd00--abcd" },
        { "an IPv4-mapped address is hexadecimal", "::ffff:10.0.0.5", "0--ffff-a00-5" },
        { "the longest", "1111:2222:3333:4444:5555:6666:7777:8888",
          "1111-2222-3333-4444-5555-6666-7777-8888" },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct ip ip = { .family = strchr(CASES[i].address, ':') == NULL ? 4 : 6 };
        char text[IPLABEL_TEXT_MAX];
        assert_int_equal(inet_pton(ip.family == 4 ? AF_INET : AF_INET6, CASES[i].address, ip.bytes),
                         1);
        iplabel_encode(&ip, text);
        if (strcmp(text, CASES[i].want) != 0)
            fail_msg("%s: '%s'", CASES[i].why, text);
    }
}

/* Sparse random addresses, so that runs of zero groups of every length and place come up. */
static void every_address_survives_the_label(void **state)
{
    uint32_t seed = 1;
    (void)state;
    for (unsigned i = 0; i < 200000; i++) {
        struct ip ip = { .family = i % 4 == 0 ? 4 : 6 }, back = { .family = 0 };
        char text[IPLABEL_TEXT_MAX], ntop[INET6_ADDRSTRLEN];
        for (size_t k = 0; k < (ip.family == 4 ? 4u : 16u); k++) {
            seed = seed * 1664525 + 1013904223;
            ip.bytes[k] = (seed >> 28) < 9 ? 0 : (uint8_t)(seed >> 20);
        }
        iplabel_encode(&ip, text);
        assert_int_equal(iplabel_decode(&back, span_str(text)), ERR_OK);
        assert_int_equal(back.family, ip.family);
        assert_memory_equal(back.bytes, ip.bytes, ip.family == 4 ? 4 : 16);
        /* and it is the C library's text, except at the ends and for its dotted tails */
        (void)inet_ntop(ip.family == 4 ? AF_INET : AF_INET6, ip.bytes, ntop, sizeof ntop);
        if (ip.family == 6 && strchr(ntop, '.') != NULL)
            continue;
        for (char *c = ntop; *c != 0; c++)
            *c = *c == ':' || *c == '.' ? '-' : *c;
        char want[INET6_ADDRSTRLEN + 2];
        (void)snprintf(want, sizeof want, "%s%s%s", ntop[0] == '-' ? "0" : "", ntop,
                       ntop[strlen(ntop) - 1] == '-' ? "0" : "");
        assert_string_equal(text, want);
    }
}

static void classes(void **state)
{
    static const struct {
        const char *label;
        enum ip_class want;
    } CASES[] = {
        { "10-0-0-0", IP_PRIVATE },
        { "10-255-255-255", IP_PRIVATE },
        { "9-255-255-255", IP_PUBLIC },
        { "11-0-0-0", IP_PUBLIC },
        { "172-16-0-0", IP_PRIVATE },
        { "172-31-255-255", IP_PRIVATE },
        { "172-15-255-255", IP_PUBLIC },
        { "172-32-0-0", IP_PUBLIC },
        { "192-168-0-0", IP_PRIVATE },
        { "192-168-255-255", IP_PRIVATE },
        { "192-167-255-255", IP_PUBLIC },
        { "192-169-0-0", IP_PUBLIC },
        { "100-64-0-0", IP_PRIVATE },
        { "100-127-255-255", IP_PRIVATE },
        { "100-63-255-255", IP_PUBLIC },
        { "100-128-0-0", IP_PUBLIC },
        { "169-254-0-0", IP_PRIVATE },
        { "169-254-255-255", IP_PRIVATE },
        { "169-254-169-253", IP_PRIVATE },
        { "169-254-169-254", IP_FORBIDDEN },
        { "169-254-169-255", IP_PRIVATE },
        { "169-253-255-255", IP_PUBLIC },
        { "127-0-0-0", IP_LOOPBACK },
        { "127-255-255-255", IP_LOOPBACK },
        { "128-0-0-1", IP_PUBLIC },
        { "0-0-0-0", IP_FORBIDDEN },
        { "224-0-0-0", IP_FORBIDDEN },
        { "239-255-255-255", IP_FORBIDDEN },
        { "223-255-255-255", IP_PUBLIC },
        { "255-255-255-255", IP_FORBIDDEN },
        { "8-8-8-8", IP_PUBLIC },
        { "fc00--0", IP_PRIVATE },
        { "fdff-ffff--1", IP_PRIVATE },
        { "fbff--1", IP_PUBLIC },
        { "fe00--1", IP_PUBLIC },
        { "0--1", IP_LOOPBACK },
        { "0--0", IP_FORBIDDEN },
        { "0--2", IP_PUBLIC },
        { "fe80--1", IP_FORBIDDEN },
        { "febf-ffff--1", IP_FORBIDDEN },
        { "fec0--1", IP_PUBLIC },
        { "fe7f--1", IP_PUBLIC },
        { "ff02--1", IP_FORBIDDEN },
        { "ff00--0", IP_FORBIDDEN },
        { "0--ffff-a00-5", IP_FORBIDDEN },
        { "0--ffff-808-808", IP_FORBIDDEN },
        { "0--fffe-a00-5", IP_PUBLIC },
        { "64-ff9b--a00-5", IP_FORBIDDEN },
        { "64-ff9b-1--a00-5", IP_FORBIDDEN },
        { "64-ff9b-2--1", IP_PUBLIC },
        { "2002-a00-5--1", IP_FORBIDDEN },
        { "2003--1", IP_PUBLIC },
        { "2001--1", IP_FORBIDDEN },
        { "2001-1--1", IP_PUBLIC },
        { "2001-db8--1", IP_PUBLIC },
        { "2606-4700-4700--1111", IP_PUBLIC },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct ip ip;
        assert_int_equal(iplabel_decode(&ip, span_str(CASES[i].label)), ERR_OK);
        if (ip_classify(&ip) != CASES[i].want)
            fail_msg("%s is class %d", CASES[i].label, (int)ip_classify(&ip));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels),
        cmocka_unit_test(spelling),
        cmocka_unit_test(every_address_survives_the_label),
        cmocka_unit_test(classes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
