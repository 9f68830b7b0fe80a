#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "provisiond/core/network.h"
#include "provisiond/core/reportbody.h"

#define CONNECTION(kind, address)                                                                  \
    "{\"kind\":\"" kind "\",\"address\":\"" address "\",\"port\":8443}"
#define LIST(c) "{\"connections\":[" c "]}"
#define HASH "0123456789012345678901234567890123456789012="

/* `out`: what is kept, as written; NULL: refused with `say` in the sentence */
static const struct {
    const char *why, *in, *out, *say;
} CASES[] = {
    { "everything",
      "{\"name\":\"B\xc3\xbcro\",\"nearby\":true,\"connections\":["
      "{\"kind\":\"gua\",\"address\":\"2A00::1\",\"port\":443},"
      "{\"kind\":\"lan\",\"address\":\"192.168.1.5\",\"port\":8443,\"hello_port\":8099}],"
      "\"dns\":[{\"server\":\"0a1b2c3d\",\"class_v4\":\"FILTER_NODATA\",\"class_ula\":\"OK\","
      "\"class_gua\":null,\"ede\":15,\"product\":\"openwrt\",\"checked_at\":1800000000}],"
      "\"rebinding\":\"mixed\",\"nat_loopback\":false,\"pins\":[\"sha256/" HASH "\"]}",
      "{\"name\":\"B\xc3\xbcro\",\"nearby\":true,\"connections\":["
      "{\"kind\":\"gua\",\"address\":\"2a00::1\",\"port\":443},"
      "{\"kind\":\"lan\",\"address\":\"192.168.1.5\",\"port\":8443,\"hello_port\":8099}],"
      "\"dns\":[{\"server\":\"0a1b2c3d\",\"class_v4\":\"FILTER_NODATA\",\"class_ula\":\"OK\","
      "\"class_gua\":null,\"ede\":15,\"product\":\"openwrt\",\"checked_at\":1800000000}],"
      "\"rebinding\":\"mixed\",\"nat_loopback\":false,\"pins\":[\"sha256/" HASH "\"]}",
      NULL },
    { "nothing", "{}",
      "{\"name\":\"\",\"nearby\":false,\"connections\":[],\"dns\":[],\"rebinding\":null,"
      "\"nat_loopback\":null,\"pins\":[]}",
      NULL },
    { "null is absent, what is unknown is passed over",
      "{\"name\":null,\"nearby\":null,\"connections\":null,\"dns\":null,\"rebinding\":null,"
      "\"nat_loopback\":true,\"pins\":null,\"tomorrow\":[{}]}",
      "{\"name\":\"\",\"nearby\":false,\"connections\":[],\"dns\":[],\"rebinding\":null,"
      "\"nat_loopback\":true,\"pins\":[]}",
      NULL },
    { "it uses a relay", "{\"relay\":true}",
      "{\"name\":\"\",\"nearby\":false,\"connections\":[],\"dns\":[],\"rebinding\":null,"
      "\"nat_loopback\":null,\"pins\":[],\"relay\":true}",
      NULL },
    { "it uses none", "{\"relay\":false}",
      "{\"name\":\"\",\"nearby\":false,\"connections\":[],\"dns\":[],\"rebinding\":null,"
      "\"nat_loopback\":null,\"pins\":[]}",
      NULL },
    { "relays that it cannot reach", "{\"relay_failed\":[\"eu1\",\"us-2\"]}",
      "{\"name\":\"\",\"nearby\":false,\"connections\":[],\"dns\":[],\"rebinding\":null,"
      "\"nat_loopback\":null,\"pins\":[],\"relay_failed\":[\"eu1\",\"us-2\"]}",
      NULL },
    { "what is no relay's name", "{\"relay_failed\":[\"EU1\"]}", NULL, "relay_failed" },
    { "no name at all", "{\"relay_failed\":[1]}", NULL, "relay_failed" },
    { "not JSON", "{\"name\":", NULL, "not JSON: line 1" },
    { "a member twice", "{\"name\":\"a\",\"name\":\"b\"}", NULL, "not JSON" },
    { "not UTF-8", "{\"name\":\"\xff\"}", NULL, "not JSON" },
    { "a NUL", "{\"name\":\"a\\u0000b\"}", NULL, "not JSON" },
    { "not an object", "[]", NULL, "not an object" },
    { "name of 65 characters",
      "{\"name\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}", NULL,
      "more than 64" },
    { "name with a control", "{\"name\":\"a\\u001b[2J\"}", NULL, "control" },
    { "name that turns round", "{\"name\":\"a\\u202eb\"}", NULL, "control" },
    { "name with a C1 control", "{\"name\":\"a\\u0085b\"}", NULL, "control" },
    { "name that is none", "{\"name\":7}", NULL, "must be a string" },
    { "nearby that is none", "{\"nearby\":1}", NULL, "true or false" },
    { "mixed is for filters only", "{\"nat_loopback\":\"mixed\"}", NULL, "nat_loopback" },
    { "an answer that is none", "{\"rebinding\":\"perhaps\"}", NULL, "rebinding" },
    { "connections that are none", "{\"connections\":{}}", NULL, "connections" },
    { "a connection that is none", LIST("7"), NULL, "needs a kind" },
    { "no address", LIST("{\"kind\":\"lan\",\"port\":1}"), NULL, "needs a kind" },
    { "a name for an address", LIST(CONNECTION("lan", "localhost")), NULL, "IP address" },
    { "no port", LIST("{\"kind\":\"lan\",\"address\":\"10.0.0.1\"}"), NULL, "port" },
    { "port 0", LIST("{\"kind\":\"lan\",\"address\":\"10.0.0.1\",\"port\":0}"), NULL, "port" },
    { "port 65536", LIST("{\"kind\":\"lan\",\"address\":\"10.0.0.1\",\"port\":65536}"), NULL,
      "port" },
    { "server is no hash", "{\"dns\":[{\"server\":\"192.168.1.1\"}]}", NULL, "server" },
    { "server is missing", "{\"dns\":[{}]}", NULL, "hash" },
    { "class with markup", "{\"dns\":[{\"server\":\"00000000\",\"class_v4\":\"<b>\"}]}", NULL,
      "class_v4" },
    { "product with markup", "{\"dns\":[{\"server\":\"00000000\",\"product\":\"a b\"}]}", NULL,
      "product" },
    { "ede out of range", "{\"dns\":[{\"server\":\"00000000\",\"ede\":65536}]}", NULL, "ede" },
    { "a pin of another hash", "{\"pins\":[\"sha1/" HASH "\"]}", NULL, "pin" },
    { "a pin that is short", "{\"pins\":[\"sha256/AAAA\"]}", NULL, "pin" },
    { "a pin with two =", "{\"pins\":[\"sha256/012345678901234567890123456789012345678901==\"]}",
      NULL, "pin" },
};

static void what_is_kept_and_what_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct reportbody b = { .n_pins = 99 };
        struct err_info info = { "" };
        enum err e = reportbody_parse(&b, span_str(CASES[i].in), &info);
        if (CASES[i].out == NULL) {
            if (e != ERR_INVALID || strstr(info.text, CASES[i].say) == NULL)
                fail_msg("%s: %d %s", CASES[i].why, (int)e, info.text);
            assert_int_equal(b.n_pins, 99);
            continue;
        }
        if (e != ERR_OK)
            fail_msg("%s: %s", CASES[i].why, info.text);
        char *text = reportbody_write(&b);
        assert_non_null(text);
        if (strcmp(text, CASES[i].out) != 0)
            fail_msg("%s: %s", CASES[i].why, text);
        assert_int_equal(reportbody_parse(&b, span_str(text), &info), ERR_OK);
        free(text);
    }
}

static const struct {
    const char *why, *kind, *address;
    bool kept;
} KINDS[] = {
    { "a public address of its own", "gua", "2a00::1", true },
    { "of either family", "gua", "203.0.113.9", true },
    { "private is not public", "gua", "192.168.1.5", false },
    { "private IPv4", "lan", "192.168.1.5", true },
    { "public is not private", "lan", "203.0.113.9", false },
    { "IPv6 is another kind", "lan", "fd00::1", false },
    { "private IPv6", "ula", "fd00::1", true },
    { "link-local has no name", "ula", "fe80::1", false },
    { "the router's", "mapped", "203.0.113.9", true },
    { "behind two routers", "mapped", "10.0.0.1", false },
    { "a page in the LAN", "page", "192.168.1.5", true },
    { "no plain page on the Internet", "page", "203.0.113.9", false },
    { "the metadata service", "lan", "169.254.169.254", false },
    { "loopback", "lan", "127.0.0.1", false },
    { "a kind of tomorrow", "satellite", "203.0.113.9", false },
};

static void a_kind_has_its_addresses(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(KINDS); i++) {
        struct reportbody b;
        char text[256];
        (void)snprintf(text, sizeof text, LIST(CONNECTION("%s", "%s")), KINDS[i].kind,
                       KINDS[i].address);
        assert_int_equal(reportbody_parse(&b, span_str(text), NULL), ERR_OK);
        if (b.n_connections != KINDS[i].kept)
            fail_msg("%s", KINDS[i].why);
    }
}

/* As many as `n` entries in the list `key`. */
static enum err parse_many(const char *key, const char *entry, size_t n)
{
    struct reportbody b;
    static char text[64 * 1024];
    size_t len = (size_t)snprintf(text, sizeof text, "{\"%s\":[", key);
    for (size_t i = 0; i < n; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%s", i > 0 ? "," : "", entry);
    (void)snprintf(text + len, sizeof text - len, "]}");
    return reportbody_parse(&b, span_str(text), NULL);
}

static void lists_have_limits(void **state)
{
    (void)state;
    const char *c = CONNECTION("lan", "10.0.0.1"), *d = "{\"server\":\"00000000\"}",
               *p = "\"sha256/" HASH "\"";
    assert_int_equal(parse_many("connections", c, REPORTBODY_CONNECTIONS_MAX), ERR_OK);
    assert_int_equal(parse_many("connections", c, REPORTBODY_CONNECTIONS_MAX + 1), ERR_INVALID);
    assert_int_equal(parse_many("dns", d, REPORTBODY_DNS_MAX), ERR_OK);
    assert_int_equal(parse_many("dns", d, REPORTBODY_DNS_MAX + 1), ERR_INVALID);
    assert_int_equal(parse_many("pins", p, REPORTBODY_PINS_MAX), ERR_OK);
    assert_int_equal(parse_many("pins", p, REPORTBODY_PINS_MAX + 1), ERR_INVALID);
    assert_int_equal(parse_many("relay_failed", "\"eu1\"", RELAYPICK_FAILED_MAX), ERR_OK);
    assert_int_equal(parse_many("relay_failed", "\"eu1\"", RELAYPICK_FAILED_MAX + 1), ERR_INVALID);
    assert_int_equal(parse_many("later", c, 1000), ERR_LIMIT);
}

static void only_proven_public_addresses_stay(void **state)
{
    struct reportbody b;
    struct ip proven[2];
    (void)state;
    assert_int_equal(
        reportbody_parse(
            &b,
            span_str(
                LIST(CONNECTION("gua", "2a00::1") "," CONNECTION("gua", "2a00::2") "," CONNECTION(
                    "lan",
                    "192.168.1.5") "," CONNECTION("mapped",
                                                  "203.0.113.9") "," CONNECTION("mapped",
                                                                                "203.0.113.8"))),
            NULL),
        ERR_OK);
    assert_true(network_parse(&proven[0], "203.0.113.9") && network_parse(&proven[1], "2a00::2"));
    assert_int_equal(b.n_connections, 5);
    reportbody_keep_proven(&b, proven, 2);
    assert_int_equal(b.n_connections, 3);
    assert_true(network_equal(&b.connections[0].ip, &proven[1]));
    assert_int_equal(b.connections[1].kind, REPORTBODY_LAN);
    assert_true(network_equal(&b.connections[2].ip, &proven[0]));
    reportbody_keep_proven(&b, NULL, 0);
    assert_int_equal(b.n_connections, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_kept_and_what_is_refused),
        cmocka_unit_test(a_kind_has_its_addresses),
        cmocka_unit_test(lists_have_limits),
        cmocka_unit_test(only_proven_public_addresses_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
