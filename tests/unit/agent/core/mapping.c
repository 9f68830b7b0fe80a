/* What lanyard-portmap printed, and what a mapped port is good for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/mapping.h"
#include "common/base/attr.h"

#define REST ",\"port\":5000,\"lifetime_s\":60}"

static const struct {
    const char *why, *text;
    enum err want;
} PARSED[] = {
    { "a mapping", "{\"protocol\":\"upnp\",\"address\":\"8.8.4.4\"" REST, ERR_OK },
    { "with the program's line end", "{\"protocol\":\"natpmp\",\"address\":\"8.8.4.4\"" REST "\n",
      ERR_OK },
    { "what it says of a failure", "{\"error\":\"no router\"}", ERR_REMOTE },
    { "nothing", "", ERR_INVALID },
    { "a sentence of the shell's", "sh: 1: exec: not found\n", ERR_INVALID },
    { "an empty object", "{}", ERR_INVALID },
    { "no object", "[]", ERR_INVALID },
    { "another protocol", "{\"protocol\":\"pcp\",\"address\":\"8.8.4.4\"" REST, ERR_INVALID },
    { "no protocol", "{\"address\":\"8.8.4.4\"" REST, ERR_INVALID },
    { "an address that is none", "{\"protocol\":\"upnp\",\"address\":\"8.8.4\"" REST, ERR_INVALID },
    { "IPv6", "{\"protocol\":\"upnp\",\"address\":\"::1\"" REST, ERR_INVALID },
    { "port 0", "{\"protocol\":\"upnp\",\"address\":\"8.8.4.4\",\"port\":0,\"lifetime_s\":60}",
      ERR_INVALID },
    { "port 65536",
      "{\"protocol\":\"upnp\",\"address\":\"8.8.4.4\",\"port\":65536,\"lifetime_s\":60}",
      ERR_INVALID },
    { "a negative lifetime",
      "{\"protocol\":\"upnp\",\"address\":\"8.8.4.4\",\"port\":5,\"lifetime_s\":-1}", ERR_INVALID },
    { "no lifetime", "{\"protocol\":\"upnp\",\"address\":\"8.8.4.4\",\"port\":5}", ERR_INVALID },
    { "two ports",
      "{\"protocol\":\"upnp\",\"address\":\"8.8.4.4\",\"port\":5,\"port\":6,\"lifetime_s\":60}",
      ERR_INVALID },
};

static void test_parse(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(PARSED); i++) {
        struct mapping m = { .port = 1 };
        struct err_info info = { "" };
        struct span text = { (const uint8_t *)PARSED[i].text, strlen(PARSED[i].text) };
        print_message("%s\n", PARSED[i].why);
        assert_int_equal(mapping_parse(&m, text, &info), PARSED[i].want);
        assert_int_equal(m.port, PARSED[i].want == ERR_OK ? 5000 : 1);
        assert_int_equal(info.text[0] != 0, PARSED[i].want != ERR_OK);
    }
}

/* The router's words end up in a terminal. */
static void test_error_is_clean(void **state)
{
    (void)state;
    static const char TEXT[] = "{\"error\":\"no\\u001b[2Jrouter\\u007f\"}";
    struct mapping m;
    struct err_info info = { "" };
    assert_int_equal(
        mapping_parse(&m, (struct span){ (const uint8_t *)TEXT, sizeof TEXT - 1 }, &info),
        ERR_REMOTE);
    assert_string_equal(info.text, "no [2Jrouter ");
}

static const struct {
    const char *why, *address, *observed;
    enum mapping_use want;
} JUDGED[] = {
    { "a public address, not seen yet", "8.8.4.4", NULL, MAPPING_OPEN },
    { "and the service sees the same", "8.8.4.4", "8.8.4.4", MAPPING_OPEN },
    { "the service sees another", "8.8.4.4", "8.8.8.8", MAPPING_ELSEWHERE },
    { "a service in the same network", "8.8.4.4", "192.168.7.5", MAPPING_OPEN },
    { "none", "0.0.0.0", "8.8.8.8", MAPPING_NO_ADDRESS },
    { "the router is behind another", "192.168.178.2", "8.8.8.8", MAPPING_INNER },
    { "or behind the provider's NAT", "100.64.0.1", NULL, MAPPING_INNER },
    { "what no name can mean", "127.0.0.1", NULL, MAPPING_INNER },
};

static void test_judge(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(JUDGED); i++) {
        struct mapping m = { .address.family = 4, .port = 5000 };
        struct ip seen = { .family = 4 };
        print_message("%s\n", JUDGED[i].why);
        assert_int_equal(inet_pton(AF_INET, JUDGED[i].address, m.address.bytes), 1);
        if (JUDGED[i].observed != NULL)
            assert_int_equal(inet_pton(AF_INET, JUDGED[i].observed, seen.bytes), 1);
        assert_int_equal(mapping_judge(&m, JUDGED[i].observed != NULL ? &seen : NULL),
                         JUDGED[i].want);
    }
}

static const struct {
    const char *why;
    int64_t lifetime_s, want_s;
} RENEWED[] = {
    { "half of its life", 600, 300 },
    { "soon enough to see another address", 7200, 900 },
    { "one without end ends when the router restarts", 0, 900 },
    { "not all the time", 2, 30 },
};

static void test_renewal(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(RENEWED); i++) {
        struct mapping m = { .lifetime_s = RENEWED[i].lifetime_s };
        print_message("%s\n", RENEWED[i].why);
        assert_int_equal(mapping_renew_in_s(&m), RENEWED[i].want_s);
    }
}

static void test_port(void **state)
{
    (void)state;
    uint16_t a = mapping_port_of("abcdefghijklmnopqrstuvwxyz234567");
    uint16_t b = mapping_port_of("bbcdefghijklmnopqrstuvwxyz234567");
    assert_true(a >= 49152 && b >= 49152);
    assert_int_not_equal(a, b);
    assert_int_equal(a, mapping_port_of("abcdefghijklmnopqrstuvwxyz234567"));
}

static const struct {
    const char *why;
    size_t len;
    uint8_t bytes[24];
    bool want;
} NEWS[] = {
    { "NAT-PMP", 12, { 0, 128, 0, 0, 0, 0, 0, 9, 8, 8, 4, 4 }, true },
    { "NAT-PMP without its address", 8, { 0, 128 }, false },
    { "a failure is no news", 12, { 0, 128, 0, 3 }, false },
    { "a request", 12, { 0, 0 }, false },
    { "PCP", 24, { 2, 128 }, true },
    { "PCP, cut", 23, { 2, 128 }, false },
    { "another of PCP's answers", 24, { 2, 129 }, false },
    { "another version", 24, { 3, 128 }, false },
    { "nothing", 0, { 0 }, false },
};

static void test_news(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(NEWS); i++) {
        print_message("%s\n", NEWS[i].why);
        assert_int_equal(mapping_is_news((struct span){ NEWS[i].bytes, NEWS[i].len }),
                         NEWS[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse), cmocka_unit_test(test_error_is_clean),
        cmocka_unit_test(test_judge), cmocka_unit_test(test_renewal),
        cmocka_unit_test(test_port),  cmocka_unit_test(test_news),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
