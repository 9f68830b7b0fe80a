#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dnsview.h"

#define SOA "z.test. 600 SOA ns.test. h.z.test. 1 2 3 4 300"
#define NS "z.test. 600 NS ns.test."

static struct zone *zone_of(const char *const *records, enum err *e, struct err_info *info)
{
    struct zone *z = NULL;
    struct name apex;
    assert_int_equal(name_parse(&apex, "z.test"), ERR_OK);
    assert_int_equal(zone_new(&z, &apex), ERR_OK);
    *e = ERR_OK;
    for (; *e == ERR_OK && *records != NULL; records++)
        *e = dnsview_add(z, *records, info);
    if (*e == ERR_OK)
        *e = zone_finish(z, info);
    return z;
}

static void serials_go_round(void **state)
{
    static const struct {
        const char *why;
        uint32_t a, b;
        bool is_before;
    } CASES[] = {
        { "the same", 7, 7, false },
        { "one more", 7, 8, true },
        { "one less", 8, 7, false },
        { "dates", 2026112101, 2026112200, true },
        { "past the end", 4294967295, 0, true },
        { "back past the end", 0, 4294967295, false },
        { "as far as can be ahead", 1, 2147483648, true },
        { "half of the circle", 1, 2147483649, true },
        { "more than half is behind", 1, 2147483650, false },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        print_message("%s\n", CASES[i].why);
        assert_int_equal(zone_serial_is_before(CASES[i].a, CASES[i].b), CASES[i].is_before);
    }
    enum err e;
    const char *records[] = { "z.test. 600 SOA ns.test. h.z.test. 4294967295 2 3 4 5", NS, NULL };
    struct zone *z = zone_of(records, &e, NULL);
    assert_int_equal(e, ERR_OK);
    assert_int_equal(zone_serial(z), 4294967295);
    zone_free(z);
}

static void what_a_zone_may_hold(void **state)
{
    static const struct {
        const char *why;
        const char *records[6];
        const char *complaint; /* NULL: accepted */
    } CASES[] = {
        { "the least there is", { SOA, NS }, NULL },
        { "no SOA", { NS }, "no SOA" },
        { "no NS", { SOA }, "no NS" },
        { "nothing", { NULL }, "no SOA" },
        { "outside", { SOA, NS, "z.test.z.testx. A 1.1.1.1" }, "outside zone z.test" },
        { "a wildcard", { SOA, NS, "*.z.test. A 1.1.1.1" }, "wildcard" },
        { "a wildcard inside", { SOA, NS, "a.*.z.test. A 1.1.1.1" }, "wildcard" },
        { "an id", { SOA, NS, DNSVIEW_ID ".z.test. A 1.1.1.1" }, "device id" },
        { "below an id", { SOA, NS, "a." DNSVIEW_ID ".z.test. A 1.1.1.1" }, "device id" },
        { "an id deeper down is a name", { SOA, NS, DNSVIEW_ID ".a.z.test. A 1.1.1.1" }, NULL },
        { "two SOA", { SOA, "z.test. SOA ns.test. h.z.test. 2 2 3 4 300", NS }, "second SOA" },
        { "the same SOA twice", { SOA, SOA, NS }, NULL },
        { "SOA below the apex", { SOA, NS, "a.z.test. SOA a. b. 1 2 3 4 5" }, "apex" },
        { "CNAME at the apex", { SOA, NS, "z.test. CNAME a." }, "apex" },
        { "CNAME, then data", { SOA, NS, "a.z.test. CNAME b.", "a.z.test. A 1.1.1.1" }, "CNAME" },
        { "data, then CNAME", { SOA, NS, "a.z.test. A 1.1.1.1", "a.z.test. CNAME b." }, "CNAME" },
        { "two CNAMEs", { SOA, NS, "a.z.test. CNAME b.", "a.z.test. CNAME c." }, "CNAME" },
        { "a CNAME twice", { SOA, NS, "a.z.test. CNAME b.", "a.z.test. CNAME b." }, NULL },
        { "a signed zone", { SOA, NS, "a.z.test. NSEC z.test. A" }, "not served" },
        { "a tree moved", { SOA, NS, "a.z.test. DNAME b." }, "not served" },
        { "an unknown type", { SOA, NS, "a.z.test. TYPE65280 \\# 2 abcd" }, NULL },
        { "an empty record", { SOA, NS, "a.z.test. TYPE65280 \\# 0" }, NULL },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct err_info info = { .text = "" };
        enum err e;
        struct zone *z = zone_of(CASES[i].records, &e, &info);
        const char *want = CASES[i].complaint;
        if ((e == ERR_OK) != (want == NULL) || (want != NULL && strstr(info.text, want) == NULL))
            fail_msg("%s: %s '%s'", CASES[i].why, err_name(e), info.text);
        zone_free(z);
    }
}

static const struct zone_node *find(const struct zone *z, const char *text)
{
    struct name n;
    assert_int_equal(name_parse(&n, text), ERR_OK);
    return zone_find(z, (struct span){ n.wire, n.len });
}

static void sets_are_made_ready(void **state)
{
    static const char *const RECORDS[] = {
        SOA, NS, "a.z.test. 300 A 1.1.1.1", "a.z.test. 60 A 1.1.1.2", "a.z.test. 900 A 1.1.1.1",
        NULL
    };
    static const uint8_t WANT[] = { 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 1, 1, 1, 1,
                                    0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 1, 1, 1, 2 };
    enum err e;
    (void)state;
    struct zone *z = zone_of(RECORDS, &e, NULL);
    assert_int_equal(e, ERR_OK);
    const struct rrset *set = node_rrset(find(z, "a.z.test"), RR_A);
    assert_int_equal(set->n, 2); /* the duplicate is left out, the lowest TTL is everybody's */
    assert_int_equal(set->len, sizeof WANT);
    assert_memory_equal(set->rrs, WANT, sizeof WANT);
    assert_int_equal(z->negative_ttl_s, 300); /* MINIMUM is below the SOA's TTL */
    zone_free(z);
}

static void nodes_between_exist_and_cuts_have_glue(void **state)
{
    enum err e;
    static const char *const RECORDS[] = { SOA,
                                           NS,
                                           "a.b.z.test. A 1.1.1.1",
                                           "cut.z.test. NS ns.cut.z.test.",
                                           "ns.cut.z.test. AAAA 3ffe::1",
                                           NULL };
    (void)state;
    struct zone *z = zone_of(RECORDS, &e, NULL);
    assert_int_equal(e, ERR_OK);
    assert_int_equal(find(z, "b.z.test")->n_sets, 0);
    assert_null(find(z, "c.z.test"));
    assert_null(find(z, "test"));
    assert_false(find(z, "z.test")->is_cut);
    assert_true(find(z, "cut.z.test")->is_cut);
    assert_int_equal(find(z, "cut.z.test")->n_glue, 1);
    assert_int_equal(find(z, "cut.z.test")->glue_len, 15 + 10 + 16);
    zone_free(z);
}

static void many_names(void **state)
{
    enum err e;
    static const char *const RECORDS[] = { SOA, NS, NULL };
    char text[64];
    (void)state;
    struct zone *z = zone_of(RECORDS, &e, NULL);
    for (unsigned i = 0; i < 3000; i++) {
        (void)snprintf(text, sizeof text, "n%u.z.test. A 10.0.%u.%u", i, i >> 8, i & 255);
        assert_int_equal(dnsview_add(z, text, NULL), ERR_OK);
    }
    assert_int_equal(zone_finish(z, NULL), ERR_OK);
    for (unsigned i = 0; i < 3000; i++) {
        (void)snprintf(text, sizeof text, "n%u.z.test", i);
        const struct zone_node *n = find(z, text);
        assert_non_null(n);
        assert_int_equal(n->sets[0].rrs[15], i & 255);
    }
    assert_null(find(z, "n3000.z.test"));
    zone_free(z);
}

static void a_set_has_a_limit(void **state)
{
    enum err e = ERR_OK;
    static const char *const RECORDS[] = { SOA, NS, NULL };
    char text[64];
    unsigned i = 0;
    (void)state;
    struct zone *z = zone_of(RECORDS, &e, NULL);
    for (; e == ERR_OK && i < 5000; i++) {
        (void)snprintf(text, sizeof text, "a.z.test. A 10.0.%u.%u", i >> 8, i & 255);
        e = dnsview_add(z, text, NULL);
    }
    assert_int_equal(e, ERR_LIMIT);
    assert_in_range(i, 1000, 4096); /* a message of 65535 bytes holds them all */
    zone_free(z);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(serials_go_round),
        cmocka_unit_test(what_a_zone_may_hold),
        cmocka_unit_test(sets_are_made_ready),
        cmocka_unit_test(nodes_between_exist_and_cuts_have_glue),
        cmocka_unit_test(many_names),
        cmocka_unit_test(a_set_has_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
