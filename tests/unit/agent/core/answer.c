/* What the service may say, and what we make of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "agent/core/answer.h"
#include "common/base/attr.h"

#define PROBLEM "application/problem+json"
#define JSON "application/json"
#define PEM "application/pem-certificate-chain"

static const struct {
    const char *why;
    enum answer_call call;
    int status;
    const char *type, *body;
    enum answer_kind want;
    const char *text; /* expected in the sentence */
} CASES[] = {
    { "enrolled", ANSWER_ENROLL, 201, JSON, "{\"id\":\"abc\"}", ANSWER_OK, "" },
    { "enrolled before, type with a parameter", ANSWER_ENROLL, 200,
      "Application/JSON; charset=utf-8", "{\"id\":\"abc\",\"zone\":\"z\"}", ANSWER_OK, "" },
    { "no id", ANSWER_ENROLL, 200, JSON, "{}", ANSWER_FAILED, "no answer of a provisiond" },
    { "an id that is no text", ANSWER_ENROLL, 200, JSON, "{\"id\":7}", ANSWER_FAILED, "" },
    { "two ids", ANSWER_ENROLL, 200, JSON, "{\"id\":\"a\",\"id\":\"b\"}", ANSWER_FAILED, "" },
    { "not JSON", ANSWER_ENROLL, 200, JSON, "{\"id\":", ANSWER_FAILED, "" },
    { "a captive portal", ANSWER_ENROLL, 200, "text/html", "<html>", ANSWER_FAILED, "text/html" },
    { "a redirect", ANSWER_ENROLL, 302, NULL, "", ANSWER_FAILED, "HTTP 302" },
    { "token refused", ANSWER_ENROLL, 403, PROBLEM,
      "{\"type\":\"urn:lanyard:problem:token-invalid\",\"detail\":\"used up\"}", ANSWER_FAILED,
      "token-invalid (HTTP 403): used up; put a token of the operator's into token_file" },
    { "accepted", ANSWER_SUBMIT, 202, JSON, "{}", ANSWER_OK, "" },
    { "accepted, without a body", ANSWER_SUBMIT, 202, NULL, "", ANSWER_OK, "" },
    { "done already", ANSWER_SUBMIT, 200, PEM, "-----BEGIN", ANSWER_ISSUED, "" },
    { "200 without a certificate", ANSWER_SUBMIT, 200, JSON, "{}", ANSWER_FAILED, "" },
    { "an empty certificate", ANSWER_POLL, 200, PEM, "", ANSWER_FAILED, "" },
    { "a certificate called HTML", ANSWER_POLL, 200, "text/html", "-----BEGIN", ANSWER_FAILED, "" },
    { "a certificate where none belongs", ANSWER_ENROLL, 200, PEM, "-----BEGIN", ANSWER_FAILED,
      "" },
    { "our CSR is bad", ANSWER_SUBMIT, 400, PROBLEM,
      "{\"type\":\"urn:lanyard:problem:csr-extra-name\"}", ANSWER_REFUSED, "csr-extra-name" },
    { "key seen elsewhere", ANSWER_SUBMIT, 409, PROBLEM,
      "{\"type\":\"urn:lanyard:problem:csr-key-reused\"}", ANSWER_REFUSED, "" },
    { "not enrolled", ANSWER_SUBMIT, 403, PROBLEM,
      "{\"type\":\"urn:lanyard:problem:not-enrolled\"}", ANSWER_UNKNOWN, "" },
    { "suspended", ANSWER_SUBMIT, 403, PROBLEM, "{\"type\":\"urn:lanyard:problem:suspended\"}",
      ANSWER_FAILED, "suspended" },
    { "somebody else's problem type", ANSWER_SUBMIT, 403, PROBLEM, "{\"type\":\"csr-x\"}",
      ANSWER_FAILED, "" },
    { "a problem with a good status", ANSWER_SUBMIT, 200, PROBLEM,
      "{\"type\":\"urn:lanyard:problem:not-enrolled\"}", ANSWER_FAILED, "" },
    { "on its way", ANSWER_POLL, 202, JSON,
      "{\"state\":\"validating\",\"detail\":\"dns\",\"retry_in\":7}", ANSWER_WAITING,
      "validating: dns" },
    { "no order", ANSWER_POLL, 404, PROBLEM, "{\"type\":\"urn:lanyard:problem:no-certificate\"}",
      ANSWER_NO_ORDER, "" },
    { "404 of something else", ANSWER_POLL, 404, "text/html", "not found", ANSWER_FAILED, "" },
    { "new key", ANSWER_POLL, 409, PROBLEM, "{\"type\":\"urn:lanyard:problem:new-key-needed\"}",
      ANSWER_REKEY, "" },
    { "new request", ANSWER_POLL, 409, PROBLEM, "{\"type\":\"urn:lanyard:problem:new-csr-needed\"}",
      ANSWER_REKEY, "" },
    { "when to renew", ANSWER_RENEWAL, 200, JSON,
      "{\"certificate\":\"0a\",\"renew_at\":200,\"now\":100,\"next_check_in\":60}", ANSWER_OK, "" },
    { "a renewal without the service's time", ANSWER_RENEWAL, 200, JSON,
      "{\"renew_at\":200,\"next_check_in\":60}", ANSWER_FAILED, "" },
    { "a renewal in text", ANSWER_RENEWAL, 200, JSON,
      "{\"renew_at\":\"200\",\"now\":100,\"next_check_in\":60}", ANSWER_FAILED, "" },
    { "a renewal beyond all calendars", ANSWER_RENEWAL, 200, JSON,
      "{\"renew_at\":9000000000000000000,\"now\":1,\"next_check_in\":60}", ANSWER_FAILED, "" },
    { "a renewal before all calendars", ANSWER_RENEWAL, 200, JSON,
      "{\"renew_at\":1,\"now\":-9000000000000000000,\"next_check_in\":60}", ANSWER_FAILED, "" },
    { "a service that does not know the question", ANSWER_RENEWAL, 404, PROBLEM,
      "{\"type\":\"urn:lanyard:problem:no-such-resource\"}", ANSWER_FAILED, "" },
    { "a report is taken", ANSWER_REPORT, 200, JSON, "{\"tags\":[]}", ANSWER_OK, "" },
    { "a report, and nobody says why not", ANSWER_REPORT, 204, NULL, "", ANSWER_FAILED, "" },
    { "a service that takes no reports", ANSWER_REPORT, 404, PROBLEM,
      "{\"type\":\"urn:lanyard:problem:no-such-resource\"}", ANSWER_FAILED, "no-such-resource" },
    { "a report of a stranger", ANSWER_REPORT, 403, PROBLEM,
      "{\"type\":\"urn:lanyard:problem:not-enrolled\"}", ANSWER_UNKNOWN, "" },
    { "deleted", ANSWER_DELETE, 204, NULL, "", ANSWER_OK, "" },
    { "a pairing code", ANSWER_PAIRING, 200, JSON, "{\"code\":\"ABCD-EFG7\",\"expires_in\":600}",
      ANSWER_OK, "" },
    { "a code that is markup", ANSWER_PAIRING, 200, JSON,
      "{\"code\":\"<b>d-EFG7\",\"expires_in\":600}", ANSWER_FAILED, "no answer of a provisiond" },
    { "a code without its hyphen", ANSWER_PAIRING, 200, JSON,
      "{\"code\":\"ABCDEEFG7\",\"expires_in\":600}", ANSWER_FAILED, "no answer of a provisiond" },
    { "a code for ever", ANSWER_PAIRING, 200, JSON, "{\"code\":\"ABCD-EFG7\",\"expires_in\":36000}",
      ANSWER_FAILED, "no answer of a provisiond" },
    { "a code that has ended", ANSWER_PAIRING, 200, JSON,
      "{\"code\":\"ABCD-EFG7\",\"expires_in\":0}", ANSWER_FAILED, "no answer of a provisiond" },
    { "no code", ANSWER_PAIRING, 200, JSON, "{}", ANSWER_FAILED, "no answer of a provisiond" },
    { "server error", ANSWER_DELETE, 500, NULL, "", ANSWER_FAILED, "HTTP 500" },
    { "control bytes do not reach the log", ANSWER_SUBMIT, 503, PROBLEM,
      "{\"type\":\"urn:lanyard:problem:busy\",\"detail\":\"a\\nb\\u001b\"}", ANSWER_FAILED,
      "busy (HTTP 503): a?b?" },
};

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct answer a;
        answer_parse(&a, CASES[i].call, CASES[i].status, CASES[i].type, span_str(CASES[i].body));
        if (a.kind != CASES[i].want || strstr(a.info.text, CASES[i].text) == NULL)
            fail_msg("%s: %d \"%s\"", CASES[i].why, (int)a.kind, a.info.text);
        assert_true((a.kind == ANSWER_ISSUED) == (a.chain.len > 0));
    }
}

static void test_retry(void **state)
{
    (void)state;
    static const struct {
        const char *why, *body;
        int64_t want;
    } ROWS[] = {
        { "given", "{\"retry_in\":7}", 7 },
        { "not given", "{}", -1 },
        { "a fraction", "{\"retry_in\":1.5}", 1 },
        { "negative", "{\"retry_in\":-5}", 0 },
        { "for ever", "{\"retry_in\":1e300}", 86400 },
        { "text", "{\"retry_in\":\"7\"}", -1 },
    };
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        struct answer a;
        answer_parse(&a, ANSWER_POLL, 202, JSON, span_str(ROWS[i].body));
        if (a.kind != ANSWER_WAITING || a.retry_in_s != ROWS[i].want)
            fail_msg("%s: %lld", ROWS[i].why, (long long)a.retry_in_s);
    }
}

static void test_renewal(void **state)
{
    (void)state;
    static const struct {
        const char *why, *body;
        int64_t renew_in_s, check_s;
    } ROWS[] = {
        { "later", "{\"renew_at\":1500,\"now\":1000,\"next_check_in\":60}", 500, 60 },
        { "now", "{\"renew_at\":1000,\"now\":1000,\"next_check_in\":60}", 0, 60 },
        { "overdue", "{\"renew_at\":900,\"now\":1000,\"next_check_in\":60}", 0, 60 },
        { "asked again at once for ever", "{\"renew_at\":9,\"now\":1,\"next_check_in\":-5}", 8, 1 },
        { "never asked again", "{\"renew_at\":9,\"now\":1,\"next_check_in\":99999999}", 8, 86400 },
    };
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        struct answer a;
        answer_parse(&a, ANSWER_RENEWAL, 200, JSON, span_str(ROWS[i].body));
        if (a.kind != ANSWER_OK || a.renew_in_s != ROWS[i].renew_in_s ||
            a.next_check_in_s != ROWS[i].check_s)
            fail_msg("%s: %lld %lld", ROWS[i].why, (long long)a.renew_in_s,
                     (long long)a.next_check_in_s);
        /* the same within the answer to a report */
        char body[256];
        (void)snprintf(body, sizeof body, "{\"renewal\":%s}", ROWS[i].body);
        answer_parse(&a, ANSWER_REPORT, 200, JSON, span_str(body));
        assert_int_equal(a.kind, ANSWER_OK);
        assert_int_equal(a.report.len, strlen(body));
        assert_int_equal(a.renew_in_s, ROWS[i].renew_in_s);
        assert_int_equal(a.next_check_in_s, ROWS[i].check_s);
    }
    struct answer none;
    answer_parse(&none, ANSWER_REPORT, 200, JSON, span_str("{\"renewal\":null}"));
    assert_int_equal(none.kind, ANSWER_OK);
    assert_int_equal(none.next_check_in_s, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_retry),
        cmocka_unit_test(test_renewal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
