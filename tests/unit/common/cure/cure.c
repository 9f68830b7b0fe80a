/* Which product comes first for what was seen, and that each cure can be printed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "common/base/attr.h"
#include "common/cure/cure.h"

static const struct {
    const char *why;
    struct cure_evidence seen;
    const char *want; /* first; NULL: none at all */
} CASES[] = {
    { "nothing is filtered", { .class_name = "OK", .hints = "" }, NULL },
    { "nobody is there to be cured", { .class_name = "RESOLVER_DOWN", .hints = "openwrt" }, NULL },
    { "dnsmasq that lets loopback pass",
      { .class_name = "FILTER_EMPTY_EDE15", .hints = "dnsmasq-2.90", .loopback = CURE_YES },
      "openwrt" },
    { "dnsmasq: the most frequent",
      { .class_name = "FILTER_EMPTY_EDE15", .hints = "dnsmasq-2.90" },
      "openwrt" },
    { "dnsmasq that filters loopback is no OpenWrt",
      { .class_name = "FILTER_EMPTY_EDE15", .hints = "", .loopback = CURE_NO },
      "pfsense-forwarder" },
    { "it says its name, any case",
      { .class_name = "FILTER_EMPTY_EDE15",
        .hints = "dnsmasq-Pi-Hole-v2.90+1",
        .loopback = CURE_NO },
      "pihole" },
    { "a name outweighs what it does",
      { .class_name = "FILTER_EMPTY_EDE15",
        .hints = "router.asusrouter.com",
        .loopback = CURE_YES },
      "asuswrt-merlin" },
    { "unbound with the short list",
      { .class_name = "FILTER_EMPTY", .hints = "", .loopback = CURE_NO, .cgnat = CURE_NO },
      "pfsense-resolver" },
    { "unbound with the long list",
      { .class_name = "FILTER_EMPTY", .hints = "", .loopback = CURE_YES, .cgnat = CURE_YES },
      "opnsense-unbound" },
    { "the same, and it says what it is built from",
      { .class_name = "FILTER_EMPTY",
        .hints = "unbound 1.19.3",
        .loopback = CURE_YES,
        .cgnat = CURE_YES },
      "opnsense-unbound" },
    { "unbound by itself: pfSense does not say that it is one",
      { .class_name = "FILTER_EMPTY",
        .hints = "unbound 1.17.1",
        .loopback = CURE_NO,
        .cgnat = CURE_NO },
      "unbound" },
    { "a name that belongs to two products, of which one has this class",
      { .class_name = "FILTER_BOGUS", .hints = "OPNsense.localdomain" },
      "opnsense-unbound" },
    { "the whole name is denied",
      { .class_name = "FILTER_NXDOMAIN", .hints = "", .whole_name = CURE_YES },
      "fritzbox" },
    { "one type is denied",
      { .class_name = "FILTER_NXDOMAIN", .hints = "", .whole_name = CURE_NO },
      "response-policy" },
    { "refused", { .class_name = "FILTER_REFUSED", .hints = "" }, "knot-resolver" },
    { "failed", { .class_name = "FILTER_SERVFAIL", .hints = "" }, "bind" },
    { "zero", { .class_name = "FILTER_ZERO", .hints = "" }, "adguard-home" },
    { "no answer", { .class_name = "FILTER_DROP", .hints = "" }, "response-policy" },
    { "it refuses, and says who it is",
      { .class_name = "FILTER_REFUSED", .hints = "AdGuard DNS" },
      "adguard-home" },
    { "the zone is blocked", { .class_name = "ZONE_BLOCKED", .hints = "" }, "blocklist" },
};

static void test_guess(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        const struct cure *out[CURE_GUESS_MAX];
        print_message("%s\n", CASES[i].why);
        size_t n = cure_guess(out, &CASES[i].seen);
        if (CASES[i].want == NULL) {
            assert_int_equal(n, 0);
            continue;
        }
        assert_in_range(n, 1, CURE_GUESS_MAX);
        assert_string_equal(out[0]->id, CASES[i].want);
        assert_string_equal(out[n - 1]->id, "other"); /* what helps with any router */
        for (size_t k = 1; k < n; k++)
            assert_ptr_not_equal(out[k], out[k - 1]);
    }
}

static bool is_known(const char *name)
{
    static const char *const CLASSES[] = {
        "FILTER_EMPTY_EDE15", "FILTER_EMPTY", "FILTER_NXDOMAIN", "NXFILTER_OR_MISSING",
        "FILTER_REFUSED",     "FILTER_BOGUS", "FILTER_SERVFAIL", "FILTER_ZERO",
        "FILTER_REWRITE",     "FILTER_DROP",  "ZONE_BLOCKED",
    };
    for (size_t i = 0; i < ARRAY_LEN(CLASSES); i++) {
        if (strcmp(CLASSES[i], name) == 0)
            return true;
    }
    return false;
}

/* The data itself: a misspelt class would never be found. */
static void test_table(void **state)
{
    (void)state;
    assert_in_range(CURES_N, 20, 60);
    for (size_t i = 0; i < CURES_N; i++) {
        const struct cure *c = &CURES[i];
        print_message("%s\n", c->id);
        assert_ptr_equal(cure_find(c->id), c); /* no id twice */
        assert_non_null(c->classes[0]);
        assert_non_null(c->steps[0]);
        for (size_t k = 0; c->classes[k] != NULL; k++)
            assert_true(is_known(c->classes[k]));
        json_t *json = cure_to_json(c, "direct.example");
        assert_non_null(json);
        char *text = json_dumps(json, 0);
        assert_null(strstr(text, "{zone}"));
        free(text);
        json_decref(json);
    }
    assert_null(cure_find("toaster"));
}

static void test_zone(void **state)
{
    (void)state;
    json_t *json = cure_to_json(cure_find("openwrt"), "home.example");
    assert_string_equal(json_string_value(json_object_get(json, "paste")),
                        "uci add_list dhcp.@dnsmasq[0].rebind_domain='home.example'\n"
                        "uci commit dhcp\nservice dnsmasq restart");
    assert_string_equal(json_string_value(json_object_get(json, "product")), "openwrt");
    assert_int_equal(json_array_size(json_object_get(json, "steps")), 3);
    json_decref(json);
    json = cure_to_json(cure_find("knot-resolver"), "home.example");
    assert_true(json_is_null(json_object_get(json, "paste")));
    json_decref(json);
}

/* Where each product has its exemption for one zone, word for word; in the lines to paste, or NULL
 * and then in the steps. */
static const struct {
    const char *id, *paste, *step;
} EXEMPTIONS[] = {
    { "dnsmasq", "rebind-domain-ok=/home.example/", "/etc/dnsmasq.d/" },
    { "openwrt",
      "uci add_list dhcp.@dnsmasq[0].rebind_domain='home.example'\nuci commit dhcp\n"
      "service dnsmasq restart",
      "Domain whitelist" },
    { "freshtomato", "rebind-domain-ok=/home.example/", "Advanced, DHCP/DNS" },
    { "asuswrt-merlin",
      "echo 'rebind-domain-ok=/home.example/' >> /jffs/configs/dnsmasq.conf.add\n"
      "service restart_dnsmasq",
      "Enable DNS Rebind protection" },
    { "edgeos",
      "configure\nset service dns forwarding options rebind-domain-ok=/home.example/\ncommit\n"
      "save\nexit",
      "SSH" },
    { "pihole", "rebind-domain-ok=/home.example/", "misc.dnsmasq_lines" },
    { "pfsense-resolver", "server:\nprivate-domain: \"home.example\"", "DNS Resolver" },
    { "pfsense-forwarder", "rebind-domain-ok=/home.example/", "DNS Forwarder" },
    { "opnsense-unbound", "home.example", "Private Domains" },
    { "opnsense-dnsmasq",
      "echo 'rebind-domain-ok=/home.example/' > /usr/local/etc/dnsmasq.conf.d/lanyard.conf\n"
      "configctl dnsmasq restart",
      "SSH" },
    { "unbound", "server:\n    private-domain: \"home.example\"", "unbound-control reload" },
    { "fritzbox", "home.example", "Heimnetz, Netzwerk, Netzwerkeinstellungen" },
    { "google-wifi", "8.8.8.8\n8.8.4.4", "choose Custom" },
    { "adguard-home", "@@||home.example^", "Custom filtering rules" },
    { "controld", "home.example", "Bypass" },
    { "nextdns", "home.example", "Allowlist" },
    { "opendns", "home.example", "always allowed" },
    { "dnscrypt-proxy", "*.home.example", "allowed_names_file" },
    { "knot-resolver", NULL, "rebinding < iterate" },
    { "bind",
      "deny-answer-addresses { /* the ranges as they are */ } except-from { \"home.example\"; };",
      "rndc reconfig" },
    { "technicolor", ":dns server config filter=disabled", "telnet" },
    { "response-policy", "*.home.example CNAME rpz-passthru.", "comes first" },
    { "blocklist", "home.example", "allow list" },
    { "portal", NULL, "Sign in" },
    { "other", "home.example", "9.9.9.9, 1.1.1.1 or 8.8.8.8" },
};

static void test_exemptions(void **state)
{
    (void)state;
    assert_int_equal(ARRAY_LEN(EXEMPTIONS), CURES_N);
    for (size_t i = 0; i < ARRAY_LEN(EXEMPTIONS); i++) {
        const struct cure *c = cure_find(EXEMPTIONS[i].id);
        print_message("%s\n", EXEMPTIONS[i].id);
        assert_non_null(c);
        json_t *json = cure_to_json(c, "home.example");
        const char *paste = json_string_value(json_object_get(json, "paste"));
        if (EXEMPTIONS[i].paste != NULL)
            assert_string_equal(paste, EXEMPTIONS[i].paste);
        else
            assert_null(paste);
        char *steps = json_dumps(json_object_get(json, "steps"), 0);
        assert_non_null(strstr(steps, EXEMPTIONS[i].step));
        free(steps);
        json_decref(json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_guess), cmocka_unit_test(test_table),
                                        cmocka_unit_test(test_zone),
                                        cmocka_unit_test(test_exemptions) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
