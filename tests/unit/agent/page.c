/* What the page says first, from what `status` says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "agent/page.h"
#include "common/base/attr.h"

#define CERT "\"certificate\":{\"name\":\"*.x\",\"expired\":false}"
#define SERVED(result) "\"served\":{\"result\":\"" result "\",\"text\":\"the app: <read> it\"}"
#define ERROR "\"last_error\":{\"text\":\"no route\"}"

static const struct {
    const char *why, *members, *kind, *headline, *sentence;
} CASES[] = {
    { "all is well", CERT, "good", "This device can be reached securely.<", "Next: " },
    { "nothing to check", CERT ",\"served\":null,\"hook\":null,\"warnings\":[]", "good",
      "This device can be reached securely.<", "Next: " },
    { "the new one is served", CERT "," SERVED("current"), "good",
      "This device can be reached securely.<", "Next: " },
    { "not known yet", CERT "," SERVED("pending"), "good", "This device can be reached securely.<",
      "Next: " },
    { "the old one is served", CERT "," SERVED("other"), "bad", "does not use the certificate",
      "Warning: the app: &lt;read&gt; it" },
    { "nobody serves", CERT "," SERVED("unreachable"), "bad", "cannot be reached",
      "Warning: the app: &lt;read&gt; it" },
    { "a warning", CERT ",\"warnings\":[\"the disk <is> full\",\"the clock\"]", "wait",
      "but needs a look", "Warning: the disk &lt;is&gt; full</p>\n<p>Warning: the clock" },
    { "the reload failed",
      CERT
      ",\"hook\":{\"ok\":false,\"timed_out\":false,\"exit_status\":7,\"output\":\"no <nginx>\"}",
      "wait", "but needs a look", "may not have read the certificate: no &lt;nginx&gt;" },
    { "the reload hung", CERT ",\"hook\":{\"ok\":false,\"timed_out\":true,\"output\":\"\"}", "wait",
      "but needs a look", "stopped at its time limit" },
    { "the reload went well", CERT ",\"hook\":{\"ok\":true,\"output\":\"fine\"}", "good",
      "This device can be reached securely.<", "Next: " },
    { "a renewal failed", CERT "," ERROR, "wait", "but needs a look", "failed: no route" },
    { "none yet", "\"certificate\":null", "wait", "has no certificate yet", "Next: " },
    { "none to be had", "\"certificate\":null," ERROR, "bad", "has no certificate yet",
      "failed: no route" },
    { "expired", "\"certificate\":{\"expired\":true}", "bad", "has expired", "Next: " },
};

static void test_state(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        char text[1024], kind[64];
        struct events events = { 0 };
        struct buf out;
        (void)snprintf(text, sizeof text, "{\"next\":\"renew\",%s}", CASES[i].members);
        (void)snprintf(kind, sizeof kind, "<div class=\"state %s\" role", CASES[i].kind);
        json_t *status = json_loads(text, 0, NULL);
        assert_non_null(status);
        buf_init(&out, PAGE_MAX);
        assert_int_equal(page_render(&out, status, &events), ERR_OK);
        buf_add(&out, "", 1);
        const char *html = (const char *)buf_span(&out).p;
        if (strstr(html, kind) == NULL || strstr(html, CASES[i].headline) == NULL ||
            strstr(html, CASES[i].sentence) == NULL)
            fail_msg("%s: %s", CASES[i].why, strstr(html, "<main>"));
        buf_clear(&out);
        json_decref(status);
    }
}

/* On a small screen a date that is broken at its hyphens cannot be read. */
static void test_dates(void **state)
{
    static const struct {
        const char *why, *words;
    } WANTED[] = {
        { "the next step",
          "Next: renew at <time datetime=\"2027-01-15T08:00:59Z\">2027-01-15 08:00 UTC</time>" },
        { "an event",
          "<td class=\"t\"><time datetime=\"2027-01-15T08:00:00Z\">2027-01-15 08:00 UTC" },
        { "what has no date to speak of", "Valid until</th><td></td>" },
    };
    struct events events = { 0 };
    struct buf out;
    json_t *status = json_pack("{ss sI s{sI}}", "next", "renew", "next_at", (json_int_t)1800000059,
                               "certificate", "not_after", (json_int_t)INT64_MAX);
    (void)state;
    events_add(&events, 1800000000, "something");
    buf_init(&out, PAGE_MAX);
    assert_int_equal(page_render(&out, status, &events), ERR_OK);
    buf_add(&out, "", 1);
    for (size_t i = 0; i < ARRAY_LEN(WANTED); i++) {
        if (strstr((const char *)buf_span(&out).p, WANTED[i].words) == NULL)
            fail_msg("%s: %s", WANTED[i].why, strstr((const char *)buf_span(&out).p, "<main>"));
    }
    buf_clear(&out);
    json_decref(status);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_state),
        cmocka_unit_test(test_dates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
