/* What a service may answer to a report, and which names we take from it. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/core/reported.h"

#define ID "abcdefghijklmnopqrstuvwxyz234567"
#define ZONE "direct.example"

static const struct {
    const char *why, *address, *name;
    bool taken;
} TAGS[] = {
    { "IPv4", "8.8.8.8", "pksjz766e-8-8-8-8." ID "." ZONE, true },
    { "IPv6", "2a00::", "pajzyoqgk-2a00--0." ID "." ZONE, true },
    { "the zone in capitals", "8.8.8.8", "pksjz766e-8-8-8-8." ID ".Direct.Example", true },
    { "of another address", "8.8.8.8", "pksjz766e-8-8-4-4." ID "." ZONE, false },
    { "of another device", "8.8.8.8", "pksjz766e-8-8-8-8.bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb." ZONE,
      false },
    { "of another zone", "8.8.8.8", "pksjz766e-8-8-8-8." ID ".evil.example", false },
    { "below the zone", "8.8.8.8", "pksjz766e-8-8-8-8." ID "." ZONE ".evil.example", false },
    { "no tag", "8.8.8.8", "8-8-8-8." ID "." ZONE, false },
    { "a tag of other characters", "8.8.8.8", "pKSJZ766E-8-8-8-8." ID "." ZONE, false },
    { "another spelling", "2a00::", "pajzyoqgk-2a00-0--0." ID "." ZONE, false },
    { "a private address", "10.0.0.1", "pksjz766e-10-0-0-1." ID "." ZONE, false },
    { "no address", "example.com", "pksjz766e-8-8-8-8." ID "." ZONE, false },
    { "a name that is long", "8.8.8.8",
      "pksjz766e-8-8-8-8-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa." ID "." ZONE, false },
    { "nothing", "8.8.8.8", "", false },
};

static void only_our_names_are_taken(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(TAGS); i++) {
        char body[512];
        struct reported r;
        (void)snprintf(body, sizeof body, "{\"tags\":[{\"address\":\"%s\",\"name\":\"%s\"}]}",
                       TAGS[i].address, TAGS[i].name);
        assert_int_equal(reported_parse(&r, span_str(body), ID, ZONE), ERR_OK);
        if (r.n_tags != TAGS[i].taken)
            fail_msg("%s", TAGS[i].why);
        if (r.n_tags == 1)
            assert_int_equal(strncmp(r.tags[0].label, TAGS[i].name, strlen(r.tags[0].label)), 0);
    }
}

static const struct {
    const char *why, *address;
    bool ours;
} SEEN[] = {
    { "that the report came from", "8.8.4.4", true },
    { "another that is proven", "8.8.8.8", true },
    { "IPv6", "2a00::", true },
    { "a stranger", "8.8.8.9", false },
    { "a stranger over IPv6", "2a00::1", false },
};

static void where_we_were_seen(void **state)
{
    (void)state;
    static const char BODY[] =
        "{\"observed\":\"8.8.4.4\",\"tags\":[{\"address\":\"8.8.8.8\",\"name\":\"pksjz766e-8-8-8-"
        "8." ID "." ZONE "\"},{\"address\":\"2a00::\",\"name\":\"pajzyoqgk-2a00--0." ID "." ZONE
        "\"}]}";
    struct reported r, nothing = { .n_tags = 0 };
    assert_int_equal(reported_parse(&r, span_str(BODY), ID, ZONE), ERR_OK);
    for (size_t i = 0; i < ARRAY_LEN(SEEN); i++) {
        struct ip ip = { .family = strchr(SEEN[i].address, ':') != NULL ? 6 : 4 };
        assert_int_equal(inet_pton(ip.family == 4 ? AF_INET : AF_INET6, SEEN[i].address, ip.bytes),
                         1);
        if (reported_is_ours(&r, &ip) != SEEN[i].ours || reported_is_ours(&nothing, &ip))
            fail_msg("%s", SEEN[i].why);
    }
}

static const struct {
    const char *why, *body;
    enum err want;
    int family;
    int64_t next_s;
} BODIES[] = {
    { "all of it", "{\"observed\":\"8.8.8.8\",\"tags\":[],\"next_report_s\":3600}", ERR_OK, 4,
      3600 },
    { "IPv6", "{\"observed\":\"2a00::1\"}", ERR_OK, 6, 21600 },
    { "nothing", "{}", ERR_OK, 0, 21600 },
    { "all the time", "{\"next_report_s\":0}", ERR_OK, 0, 300 },
    { "never", "{\"next_report_s\":9000000000000}", ERR_OK, 0, 86400 },
    { "not a number", "{\"next_report_s\":\"1\",\"observed\":7,\"tags\":{}}", ERR_OK, 0, 21600 },
    { "tags that are none", "{\"tags\":[7,null,{},{\"name\":1},{\"address\":\"8.8.8.8\"}]}", ERR_OK,
      0, 21600 },
    { "no object", "[]", ERR_INVALID, 0, 0 },
    { "no JSON", "<html>", ERR_INVALID, 0, 0 },
};

static void bodies(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(BODIES); i++) {
        struct reported r = { .n_tags = 3 };
        enum err e = reported_parse(&r, span_str(BODIES[i].body), ID, ZONE);
        bool right = e == BODIES[i].want &&
                     (e != ERR_OK ? r.n_tags == 3
                                  : r.n_tags == 0 && r.observed.family == BODIES[i].family &&
                                        r.next_report_s == BODIES[i].next_s);
        if (!right)
            fail_msg("%s", BODIES[i].why);
    }
}

static void a_label_is_found_by_its_address(void **state)
{
    struct reported r;
    struct ip ip = { .family = 4, .bytes = { 8, 8, 8, 8 } };
    (void)state;
    const char *body =
        "{\"tags\":[{\"address\":\"2a00::\",\"name\":\"pajzyoqgk-2a00--0." ID "." ZONE
        "\"},{\"address\":\"8.8.8.8\",\"name\":\"pksjz766e-8-8-8-8." ID "." ZONE "\"}]}";
    assert_int_equal(reported_parse(&r, span_str(body), ID, ZONE), ERR_OK);
    assert_string_equal(reported_label(&r, &ip), "pksjz766e-8-8-8-8");
    ip.bytes[3] = 4;
    assert_null(reported_label(&r, &ip));
}

static void more_tags_than_fit_are_left_out(void **state)
{
    char body[2048] = "{\"tags\":[";
    struct reported r;
    (void)state;
    for (int i = 0; i < 10; i++)
        (void)snprintf(body + strlen(body), sizeof body - strlen(body),
                       "%s{\"address\":\"8.8.8.8\",\"name\":\"pksjz766e-8-8-8-8." ID "." ZONE "\"}",
                       i > 0 ? "," : "");
    (void)strcat(body, "]}");
    assert_int_equal(reported_parse(&r, span_str(body), ID, ZONE), ERR_OK);
    assert_int_equal(r.n_tags, REPORTED_TAGS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_our_names_are_taken),
        cmocka_unit_test(where_we_were_seen),
        cmocka_unit_test(bodies),
        cmocka_unit_test(a_label_is_found_by_its_address),
        cmocka_unit_test(more_tags_than_fit_are_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
