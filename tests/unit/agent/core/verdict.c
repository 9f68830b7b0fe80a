/* Every class of answers a resolver can give, what it is taken for, and what is said about it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "agent/core/verdict.h"
#include "agent/core/verdictview.h"

#define ID "abcdefghijklmnopqrstuvwxyz234567"

static const struct ip OWN = { 4, { 10, 0, 0, 5 } };
static const struct ip OTHER = { 4, { 192, 88, 99, 99 } };
static const struct ip PRIVATE_OTHER = { 4, { 10, 1, 1, 1 } };
static const struct ip HUB = { 4, { 192, 88, 99, 10 } };
static const struct ip ZERO = { 4, { 0 } };
static const struct ip GUA = { 6, { 0x3f, 0xfe, [15] = 5 } };

static struct verdict_subject subject(void)
{
    struct verdict_subject s = { .id = ID, .own = OWN, .ula = { 6, { 0xfd, [15] = 1 } } };
    assert_int_equal(name_parse(&s.zone, "direct.example"), ERR_OK);
    return s;
}

static void answer(struct verdict_answers *a, enum verdict_ask ask, unsigned rcode)
{
    a->seen[ask] = (struct verdict_seen){ true, true, { .rcode = rcode, .ede = -1 } };
}

static void answer_ip(struct verdict_answers *a, enum verdict_ask ask, const struct ip *ip)
{
    answer(a, ask, DNS_NOERROR);
    a->seen[ask].reply.n_answers = a->seen[ask].reply.n_ips = 1;
    a->seen[ask].reply.ips[0] = *ip;
}

static void answer_text(struct verdict_answers *a, enum verdict_ask ask, const char *text)
{
    answer(a, ask, DNS_NOERROR);
    strcpy(a->seen[ask].reply.text, text);
}

/* A resolver that filters nothing, asked for everything. */
static void honest(struct verdict_answers *a, enum verdict_source source)
{
    struct verdict_subject s = subject();
    *a = (struct verdict_answers){ .address = "10.0.0.1:53", .source = source };
    answer_text(a, ASK_ZONE, "ns1.direct.example");
    answer_ip(a, ASK_CONTROL, &HUB);
    answer_ip(a, ASK_OWN, &OWN);
    if (source == SOURCE_REFERENCE)
        return;
    answer_text(a, ASK_OWN_TXT, "lanyard");
    answer_ip(a, ASK_ULA, &s.ula);
    answer_ip(a, ASK_172, &(struct ip){ 4, { 172, 16, 0, 1 } });
    answer_ip(a, ASK_192, &(struct ip){ 4, { 192, 168, 1, 1 } });
    answer_ip(a, ASK_CGNAT, &(struct ip){ 4, { 100, 64, 0, 1 } });
    answer_ip(a, ASK_LOOPBACK, &(struct ip){ 4, { 127, 0, 0, 1 } });
}

static void own(struct verdict_answers *a, unsigned rcode)
{
    answer(a, ASK_OWN, rcode);
}

static void own_empty(struct verdict_answers *a)
{
    own(a, DNS_NOERROR);
}

static void own_ede15(struct verdict_answers *a)
{
    own(a, DNS_NOERROR);
    a->seen[ASK_OWN].reply.ede = 15;
}

static void own_cname_only(struct verdict_answers *a)
{
    own(a, DNS_NOERROR);
    a->seen[ASK_OWN].reply.n_answers = 1;
}

static void own_soa(struct verdict_answers *a)
{
    own(a, DNS_NOERROR);
    a->seen[ASK_OWN].reply.zone_soa = true;
}

static void own_nxdomain(struct verdict_answers *a)
{
    own(a, DNS_NXDOMAIN);
}

static void name_nxdomain(struct verdict_answers *a)
{
    own(a, DNS_NXDOMAIN);
    answer(a, ASK_OWN_TXT, DNS_NXDOMAIN);
}

static void own_refused(struct verdict_answers *a)
{
    own(a, DNS_REFUSED);
    a->seen[ASK_OWN].reply.ede = 18;
}

static void own_servfail(struct verdict_answers *a)
{
    own(a, DNS_SERVFAIL);
    answer(a, ASK_OWN_RAW, DNS_SERVFAIL);
}

static void own_bogus(struct verdict_answers *a)
{
    own(a, DNS_SERVFAIL);
    answer(a, ASK_OWN_RAW, DNS_NOERROR);
}

static void own_broken_signature(struct verdict_answers *a)
{
    own(a, DNS_SERVFAIL);
    answer_ip(a, ASK_OWN_RAW, &OWN);
}

static void own_formerr(struct verdict_answers *a)
{
    own(a, DNS_FORMERR);
}

static void own_zero(struct verdict_answers *a)
{
    answer_ip(a, ASK_OWN, &ZERO);
}

static void own_other(struct verdict_answers *a)
{
    answer_ip(a, ASK_OWN, &OTHER);
}

static void own_dropped(struct verdict_answers *a)
{
    a->seen[ASK_OWN].answered = false;
}

static void zone_denied(struct verdict_answers *a)
{
    for (unsigned i = ASK_ZONE; i <= ASK_192; i++)
        answer(a, (enum verdict_ask)i, DNS_NXDOMAIN);
}

static void zone_zeroed(struct verdict_answers *a)
{
    own_zero(a);
    answer_ip(a, ASK_CONTROL, &ZERO);
}

static void zone_refused(struct verdict_answers *a)
{
    for (unsigned i = ASK_ZONE; i <= ASK_192; i++)
        answer(a, (enum verdict_ask)i, DNS_REFUSED);
}

static void zone_unanswered(struct verdict_answers *a)
{
    for (unsigned i = ASK_ZONE; i <= ASK_192; i++)
        a->seen[i].answered = false;
    answer_text(a, ASK_VERSION, "dnsmasq-2.90");
}

static void portal(struct verdict_answers *a)
{
    answer_ip(a, ASK_CONTROL, &PRIVATE_OTHER);
    answer_ip(a, ASK_OWN, &PRIVATE_OTHER);
    answer(a, ASK_ZONE, DNS_NOERROR);
}

static void hub_rewritten(struct verdict_answers *a)
{
    own_other(a);
    answer_ip(a, ASK_CONTROL, &OTHER);
}

static void no_hub(struct verdict_answers *a)
{
    own_empty(a);
    answer(a, ASK_CONTROL, DNS_NXDOMAIN);
}

static void silent(struct verdict_answers *a)
{
    for (unsigned i = 0; i < VERDICT_ASK_N; i++)
        a->seen[i].answered = false;
}

static void unchanged(struct verdict_answers *a)
{
    (void)a;
}

static const struct {
    const char *why;
    void (*change)(struct verdict_answers *a);
    bool reference; /* whether a name server of the zone was reached */
    enum verdict_class v4;
    const char *name; /* as the report says it */
} CASES[] = {
    { "nothing filtered", unchanged, false, VERDICT_OK, "OK" },
    { "dnsmasq", own_ede15, false, VERDICT_EMPTY_EDE15, "FILTER_EMPTY_EDE15" },
    { "unbound", own_empty, false, VERDICT_EMPTY, "FILTER_EMPTY" },
    { "unbound that left a CNAME", own_cname_only, false, VERDICT_EMPTY, "FILTER_EMPTY" },
    { "case 10: the zone says so itself", own_soa, false, VERDICT_NODATA, "NODATA_FROM_ZONE" },
    { "a response policy", own_nxdomain, false, VERDICT_NXDOMAIN, "FILTER_NXDOMAIN" },
    { "nothing to compare with", name_nxdomain, false, VERDICT_MISSING, "NXFILTER_OR_MISSING" },
    { "FRITZ!Box: the zone knows better", name_nxdomain, true, VERDICT_NXDOMAIN,
      "FILTER_NXDOMAIN" },
    { "knot-resolver", own_refused, false, VERDICT_REFUSED, "FILTER_REFUSED" },
    { "BIND", own_servfail, false, VERDICT_SERVFAIL, "FILTER_SERVFAIL" },
    { "a validator that filters", own_bogus, false, VERDICT_BOGUS, "FILTER_BOGUS" },
    { "a validator that finds our signatures bad", own_broken_signature, false, VERDICT_SERVFAIL,
      "FILTER_SERVFAIL" },
    { "another error", own_formerr, false, VERDICT_SERVFAIL, "FILTER_SERVFAIL" },
    { "AdGuard Home", own_zero, false, VERDICT_ZERO, "FILTER_ZERO" },
    { "another address", own_other, false, VERDICT_REWRITE, "FILTER_REWRITE" },
    { "no answer to this", own_dropped, false, VERDICT_DROP, "FILTER_DROP" },
    { "a block list", zone_denied, false, VERDICT_BLOCKED, "ZONE_BLOCKED" },
    { "a block list of zeros", zone_zeroed, false, VERDICT_BLOCKED, "ZONE_BLOCKED" },
    { "refuses the zone, which is there", zone_refused, true, VERDICT_BLOCKED, "ZONE_BLOCKED" },
    { "refuses the zone, and so does everything", zone_refused, false, VERDICT_OFFLINE, "OFFLINE" },
    { "only the router is there", zone_unanswered, false, VERDICT_OFFLINE, "OFFLINE" },
    { "everything is the sign-in page", portal, false, VERDICT_BLOCKED, "ZONE_BLOCKED" },
    { "a public address that is not the hub's", hub_rewritten, true, VERDICT_BLOCKED,
      "ZONE_BLOCKED" },
    { "the same, taken on trust", hub_rewritten, false, VERDICT_REWRITE, "FILTER_REWRITE" },
    { "a zone without a hub", no_hub, false, VERDICT_EMPTY, "FILTER_EMPTY" },
    { "the hub denied, which is there", no_hub, true, VERDICT_BLOCKED, "ZONE_BLOCKED" },
    { "nobody", silent, true, VERDICT_DOWN, "RESOLVER_DOWN" },
};

static void test_classes(void **state)
{
    (void)state;
    bool covered[VERDICT_CLASS_N] = { [VERDICT_NONE] = true };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct verdict_subject s = subject();
        struct verdict_answers list[2];
        struct verdict_report r;
        print_message("%s\n", CASES[i].why);
        honest(&list[0], SOURCE_SYSTEM);
        honest(&list[1], SOURCE_REFERENCE);
        CASES[i].change(&list[0]);
        verdict_judge(&r, &s, list, CASES[i].reference ? 2 : 1);
        assert_int_equal(r.n, 1);
        assert_int_equal(r.list[0].v4, CASES[i].v4);
        assert_string_equal(verdict_class_name(r.list[0].v4), CASES[i].name);
        assert_int_equal(r.rebinding, verdict_is_filter(CASES[i].v4) ? REBINDING_YES
                                      : CASES[i].v4 == VERDICT_OK    ? REBINDING_NO
                                                                     : REBINDING_UNKNOWN);
        assert_int_equal(r.list[0].n_cures > 0, verdict_is_filter(CASES[i].v4) ||
                                                    CASES[i].v4 == VERDICT_BLOCKED ||
                                                    CASES[i].v4 == VERDICT_MISSING);
        covered[CASES[i].v4] = true;
    }
    for (size_t i = 0; i < VERDICT_CLASS_N; i++)
        assert_true(covered[i]);
}

/* Case 8. */
static void test_mixed(void **state)
{
    (void)state;
    struct verdict_subject s = subject();
    struct verdict_answers list[5];
    struct verdict_report r;
    honest(&list[0], SOURCE_SYSTEM);
    honest(&list[1], SOURCE_SYSTEM);
    own_empty(&list[1]);
    honest(&list[2], SOURCE_SYSTEM);
    silent(&list[2]);
    honest(&list[3], SOURCE_GATEWAY);
    silent(&list[3]);
    honest(&list[4], SOURCE_NETWORK);
    silent(&list[4]);
    verdict_judge(&r, &s, list, 5);
    assert_int_equal(r.rebinding, REBINDING_MIXED);
    assert_int_equal(r.n, 3); /* a router that is no resolver does not count, nor an old lease */
    /* one that reaches the zone shows that another one blocks it */
    zone_refused(&list[1]);
    verdict_judge(&r, &s, list, 3);
    assert_int_equal(r.list[1].v4, VERDICT_BLOCKED);
}

static const struct {
    const char *why;
    size_t n;
    enum verdict_rebinding rebinding;
    int64_t want_s;
} LASTS[] = {
    { "nothing is kept back: six hours", 1, REBINDING_NO, 21600 },
    { "a filter does not go away either", 1, REBINDING_YES, 21600 },
    { "some of them", 2, REBINDING_MIXED, 21600 },
    { "no resolver to look at", 0, REBINDING_UNKNOWN, 21600 },
    { "nothing could be judged: five minutes", 1, REBINDING_UNKNOWN, 300 },
};

/* When it is time to look again. */
static void test_lasts(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(LASTS); i++) {
        struct verdict_report r = { .n = LASTS[i].n, .rebinding = LASTS[i].rebinding };
        print_message("%s\n", LASTS[i].why);
        assert_int_equal(verdict_lasts_s(&r), LASTS[i].want_s);
    }
    assert_int_equal(verdict_lasts_s(NULL), 300); /* there was no memory for it */
}

/* The ranges, the other family and the public address are judged by themselves. */
static void test_each_by_itself(void **state)
{
    (void)state;
    struct verdict_subject s = subject();
    struct verdict_answers a;
    struct verdict_report r;
    honest(&a, SOURCE_SYSTEM);
    answer(&a, ASK_192, DNS_NXDOMAIN);
    answer(&a, ASK_ULA, DNS_NOERROR);
    s.gua = GUA;
    answer_ip(&a, ASK_GUA, &GUA);
    verdict_judge(&r, &s, &a, 1);
    assert_int_equal(r.list[0].v4, VERDICT_OK);
    assert_int_equal(r.list[0].ula, VERDICT_EMPTY);
    assert_int_equal(r.list[0].gua, VERDICT_OK);
    assert_int_equal(r.list[0].ranges[0], VERDICT_OK); /* that of our own address */
    assert_int_equal(r.list[0].ranges[1], VERDICT_OK);
    assert_int_equal(r.list[0].ranges[2], VERDICT_NXDOMAIN);
    assert_true(r.list[0].n_cures > 0);
    assert_int_equal(r.rebinding, REBINDING_NO);
}

static const struct {
    const char *why;
    enum verdict_ask ask;
    const char *name; /* NULL: not asked */
    uint16_t type;
} QUESTIONS[] = {
    { "the zone", ASK_ZONE, "direct.example", RR_NS },
    { "the control", ASK_CONTROL, "hub.direct.example", RR_A },
    { "our address", ASK_OWN, "10-0-0-5." ID ".direct.example", RR_A },
    { "its text", ASK_OWN_TXT, "10-0-0-5." ID ".direct.example", RR_TXT },
    { "IPv6", ASK_ULA, "fd00--1." ID ".direct.example", RR_AAAA },
    { "the range of our own address", ASK_10, NULL, 0 },
    { "another range", ASK_172, "172-16-0-1." ID ".direct.example", RR_A },
    { "no public name", ASK_GUA, NULL, 0 },
    { "loopback", ASK_LOOPBACK, "127-0-0-1." ID ".direct.example", RR_A },
    { "its version", ASK_VERSION, "version.bind", RR_TXT },
    { "its name", ASK_REVERSE, "1.0.0.10.in-addr.arpa", RR_PTR },
    { "nothing to look at again", ASK_OWN_RAW, NULL, 0 },
};

static void test_questions(void **state)
{
    (void)state;
    struct verdict_subject s = subject();
    struct verdict_answers a;
    struct lookup q;
    char text[NAME_TEXT_MAX];
    honest(&a, SOURCE_SYSTEM);
    a.ip = (struct ip){ 4, { 10, 0, 0, 1 } };
    for (size_t i = 0; i < ARRAY_LEN(QUESTIONS); i++) {
        print_message("%s\n", QUESTIONS[i].why);
        enum err e = verdict_question(&q, QUESTIONS[i].ask, &s, &a);
        assert_int_equal(e, QUESTIONS[i].name != NULL ? ERR_OK : ERR_NOTFOUND);
        if (e != ERR_OK)
            continue;
        name_format(&q.name, text);
        assert_string_equal(text, QUESTIONS[i].name);
        assert_int_equal(q.type, QUESTIONS[i].type);
        assert_int_equal(q.class, QUESTIONS[i].ask == ASK_VERSION ? RR_CLASS_CH : RR_CLASS_IN);
        assert_false(q.unchecked);
    }
    own_servfail(&a);
    assert_int_equal(verdict_question(&q, ASK_OWN_RAW, &s, &a), ERR_OK);
    assert_true(q.unchecked);
    s.gua = GUA;
    strcpy(s.gua_label, "pabcdefgh-3ffe--5");
    assert_int_equal(verdict_question(&q, ASK_GUA, &s, &a), ERR_OK);
    name_format(&q.name, text);
    assert_string_equal(text, "pabcdefgh-3ffe--5." ID ".direct.example");
    a.ip = OTHER; /* nobody on the Internet is asked for the name of a public resolver */
    assert_int_equal(verdict_question(&q, ASK_REVERSE, &s, &a), ERR_NOTFOUND);
    a.ip = (struct ip){ 6, { 0xfd, [15] = 0x1f } };
    assert_int_equal(verdict_question(&q, ASK_REVERSE, &s, &a), ERR_OK);
    name_format(&q.name, text);
    assert_string_equal(text,
                        "f.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa");
    a.source = SOURCE_REFERENCE;
    assert_int_equal(verdict_question(&q, ASK_OWN, &s, &a), ERR_OK);
    assert_int_equal(verdict_question(&q, ASK_ULA, &s, &a), ERR_NOTFOUND);
}

/* What leaves the device has no address of the network in it. */
static void test_report(void **state)
{
    (void)state;
    static const uint8_t KEY[SIPHASH_KEY_LEN] = { 1 }, KEY2[SIPHASH_KEY_LEN] = { 2 };
    struct verdict_subject s = subject();
    struct verdict_answers list[2];
    struct verdict_report r;
    honest(&list[0], SOURCE_SYSTEM);
    own_ede15(&list[0]);
    honest(&list[1], SOURCE_SYSTEM);
    verdict_judge(&r, &s, list, 2);
    r.checked_at = 1700000000;
    json_t *json = verdict_to_json(&r, KEY), *again = verdict_to_json(&r, KEY2);
    char *text = json_dumps(json, JSON_SORT_KEYS);
    assert_null(strstr(text, "10.0.0"));
    assert_string_equal(json_string_value(json_object_get(json, "rebinding")), "mixed");
    const json_t *one = json_array_get(json_object_get(json, "dns"), 0);
    assert_string_equal(json_string_value(json_object_get(one, "class_v4")), "FILTER_EMPTY_EDE15");
    assert_string_equal(json_string_value(json_object_get(one, "product")), "openwrt");
    assert_int_equal(json_integer_value(json_object_get(one, "ede")), 15);
    assert_int_equal(json_integer_value(json_object_get(one, "checked_at")), 1700000000);
    assert_null(json_object_get(one, "class_gua"));
    const char *hash = json_string_value(json_object_get(one, "server"));
    assert_int_equal(strlen(hash), 8);
    const json_t *other = json_array_get(json_object_get(again, "dns"), 0);
    assert_string_not_equal(hash, json_string_value(json_object_get(other, "server")));
    assert_true(
        json_is_null(json_object_get(json_array_get(json_object_get(json, "dns"), 1), "ede")));
    free(text);
    json_decref(json);
    json_decref(again);
}

static void test_detail(void **state)
{
    (void)state;
    struct verdict_subject s = subject();
    struct verdict_answers a;
    struct verdict_report r;
    char *text = NULL;
    size_t len = 0;
    honest(&a, SOURCE_GATEWAY);
    own_ede15(&a);
    answer_text(&a, ASK_VERSION, "dnsmasq-pi-hole-v2.90");
    verdict_judge(&r, &s, &a, 1);
    json_t *json = verdict_detail(&r, false);
    FILE *out = open_memstream(&text, &len);
    verdict_print(json, false, out);
    assert_int_equal(fclose(out), 0);
    assert_non_null(strstr(text, "resolver     10.0.0.1:53 (router) keeps private addresses back"));
    assert_non_null(strstr(text, "  cure       Pi-hole:"));
    assert_non_null(strstr(text, "                 rebind-domain-ok=/direct.example/\n"));
    assert_null(strstr(text, "OpenWrt"));
    assert_string_equal(json_string_value(json_object_get(json, "name")),
                        "10-0-0-5." ID ".direct.example");
    free(text);
    json_decref(json);
    /* nobody to ask */
    verdict_judge(&r, &s, &a, 0);
    json = verdict_detail(&r, true);
    assert_true(json_is_null(json_object_get(json, "rebinding")));
    assert_true(json_is_true(json_object_get(json, "running")));
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes),   cmocka_unit_test(test_mixed),
        cmocka_unit_test(test_lasts),     cmocka_unit_test(test_each_by_itself),
        cmocka_unit_test(test_questions), cmocka_unit_test(test_report),
        cmocka_unit_test(test_detail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
