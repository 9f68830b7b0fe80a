#include "provisiond/acme/errors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/base/attr.h"

static const struct {
    const char *why;
    enum errors_context context;
    int status;
    const char *type, *detail;
    enum issuer_verdict want;
    const char *sub; /* one subproblem's type */
} CASES[] = {
    /* the CA is away or stumbling */
    { "a nonce", ERRORS_ORDER, 400, "badNonce", "", ISSUER_RETRY, NULL },
    { "its own fault", ERRORS_FINALIZE, 500, "serverInternal", "", ISSUER_RETRY, NULL },
    { "a 5xx counts more than its type", ERRORS_FINALIZE, 503, "malformed", "", ISSUER_RETRY,
      NULL },
    { "a proxy's error page", ERRORS_ORDER, 502, "", "", ISSUER_RETRY, NULL },
    { "busy, not limited", ERRORS_NEW_ORDER, 503, "rateLimited", "Service busy; retry later.",
      ISSUER_RETRY, NULL },
    { "a directory that is not there", ERRORS_DIRECTORY, 404, "", "", ISSUER_RETRY, NULL },
    { "a redirect is not followed", ERRORS_ORDER, 302, "", "", ISSUER_RETRY, NULL },
    { "no new order because of a proxy", ERRORS_NEW_ORDER, 403, "", "", ISSUER_RETRY, NULL },
    { "still lost after registering", ERRORS_NEW_ORDER, 400, "accountDoesNotExist", "",
      ISSUER_RETRY, NULL },
    /* limits */
    { "a limit", ERRORS_NEW_ORDER, 429, "rateLimited", "too many certificates", ISSUER_HOLD, NULL },
    { "a limit, as HTML", ERRORS_ORDER, 429, "", "", ISSUER_HOLD, NULL },
    { "a limit with subproblems", ERRORS_NEW_ORDER, 429, "rateLimited", "", ISSUER_HOLD, "dns" },
    { "paused", ERRORS_NEW_ORDER, 429, "rateLimited",
      "Your account is temporarily prevented from requesting certificates for a.example and "
      "possibly others. Please visit https://ca.example/sfe/v1/unpause",
      ISSUER_HUMAN, NULL },
    /* the operator */
    { "terms", ERRORS_NEW_ACCOUNT, 403, "userActionRequired", "", ISSUER_HUMAN, NULL },
    { "terms, later", ERRORS_NEW_ORDER, 403, "userActionRequired", "", ISSUER_HUMAN, NULL },
    { "binding", ERRORS_NEW_ACCOUNT, 403, "externalAccountRequired", "", ISSUER_HUMAN, NULL },
    { "a bad binding", ERRORS_NEW_ACCOUNT, 403, "unauthorized", "", ISSUER_HUMAN, NULL },
    { "a bad binding, other CAs", ERRORS_NEW_ACCOUNT, 400, "malformed", "", ISSUER_HUMAN, NULL },
    { "a bad contact", ERRORS_NEW_ACCOUNT, 400, "invalidContact", "", ISSUER_HUMAN, NULL },
    { "the account key", ERRORS_NEW_ACCOUNT, 400, "badPublicKey", "", ISSUER_HUMAN, NULL },
    { "deactivated", ERRORS_NEW_ORDER, 403, "unauthorized", "", ISSUER_HUMAN, NULL },
    /* the order is lost */
    { "the order is not ours any more", ERRORS_ORDER, 403, "unauthorized", "", ISSUER_NEW_ORDER,
      NULL },
    { "the order is gone", ERRORS_ORDER, 404, "malformed", "", ISSUER_NEW_ORDER, NULL },
    { "gone, as HTML", ERRORS_ORDER, 404, "", "", ISSUER_NEW_ORDER, NULL },
    { "DNS", ERRORS_VALIDATION, 0, "dns", "SERVFAIL", ISSUER_NEW_ORDER, NULL },
    { "a wrong value", ERRORS_VALIDATION, 0, "unauthorized", "no TXT record", ISSUER_NEW_ORDER,
      NULL },
    { "CAA", ERRORS_VALIDATION, 0, "caa", "", ISSUER_NEW_ORDER, NULL },
    { "a type from the future", ERRORS_VALIDATION, 0, "moonPhase", "", ISSUER_NEW_ORDER, NULL },
    { "the CA's fault ends the order too", ERRORS_VALIDATION, 0, "serverInternal", "",
      ISSUER_NEW_ORDER, NULL },
    { "a replaced predecessor", ERRORS_NEW_ORDER, 409, "alreadyReplaced", "", ISSUER_NEW_ORDER,
      NULL },
    /* further than we thought */
    { "finalized before", ERRORS_FINALIZE, 403, "orderNotReady", "order is \"valid\"",
      ISSUER_RESUME, NULL },
    { "started before", ERRORS_CHALLENGE, 400, "malformed", "authorization must be pending",
      ISSUER_RESUME, NULL },
    { "a conflict", ERRORS_FINALIZE, 409, "", "", ISSUER_RESUME, NULL },
    /* the device */
    { "the CSR", ERRORS_FINALIZE, 400, "badCSR", "", ISSUER_DEVICE, NULL },
    { "the CSR, told late", ERRORS_VALIDATION, 0, "badCSR", "", ISSUER_DEVICE, NULL },
    { "a blocked key", ERRORS_FINALIZE, 400, "badPublicKey", "", ISSUER_DEVICE, NULL },
    { "names differ", ERRORS_FINALIZE, 403, "unauthorized",
      "CSR does not specify same identifiers as Order", ISSUER_DEVICE, NULL },
    { "not about the CSR", ERRORS_FINALIZE, 403, "unauthorized", "account differs",
      ISSUER_NEW_ORDER, NULL },
    /* revocation */
    { "not ours to revoke", ERRORS_REVOKE, 403, "unauthorized", "", ISSUER_PERMANENT, NULL },
    { "a reason of others", ERRORS_REVOKE, 400, "badRevocationReason", "", ISSUER_PERMANENT, NULL },
    /* renewal information */
    { "a lasting error", ERRORS_RENEWAL, 400, "malformed", "", ISSUER_HOLD, NULL },
    { "a temporary one", ERRORS_RENEWAL, 502, "", "", ISSUER_RETRY, NULL },
    /* never */
    { "refused by policy", ERRORS_NEW_ORDER, 400, "rejectedIdentifier", "", ISSUER_PERMANENT,
      NULL },
    { "not offered", ERRORS_NEW_ORDER, 400, "unsupportedIdentifier", "", ISSUER_PERMANENT, NULL },
    { "told in a subproblem", ERRORS_NEW_ORDER, 400, "compound", "", ISSUER_PERMANENT,
      "rejectedIdentifier" },
};

static void fill(struct errors_problem *p, size_t i)
{
    memset(p, 0, sizeof *p);
    p->status = CASES[i].status;
    (void)snprintf(p->type, sizeof p->type, "%s", CASES[i].type);
    (void)snprintf(p->detail, sizeof p->detail, "%s", CASES[i].detail);
    if (CASES[i].sub != NULL)
        (void)snprintf(p->sub_type[p->n_sub++], ERRORS_TYPE_MAX, "%s", CASES[i].sub);
}

static void test_table(void **state)
{
    struct errors_problem p;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct issuer_reply reply = { .verdict = ISSUER_OK };
        fill(&p, i);
        errors_fill(&reply, CASES[i].context, &p);
        if (reply.verdict != CASES[i].want || reply.info.text[0] == 0)
            fail_msg("%s: verdict %d, not %d", CASES[i].why, (int)reply.verdict,
                     (int)CASES[i].want);
        assert_string_equal(reply.type, CASES[i].type);
    }
}

static void test_limits_and_what_to_leave_out(void **state)
{
    static const struct {
        const char *why;
        int status;
        const char *type, *detail;
        enum issuer_limit limit;
        bool replaces, profile;
    } ROWS[] = {
        { "orders", 429, "rateLimited",
          "too many new orders (300) from this account in the last 3h0m0s, retry after 2026-",
          ISSUER_LIMIT_ACCOUNT, false, false },
        { "domain", 429, "rateLimited",
          "too many certificates (50) already issued for \"direct.example\" in the last 168h0m0s",
          ISSUER_LIMIT_DOMAIN, false, false },
        { "exact names", 429, "rateLimited",
          "too many certificates (5) already issued for this exact set of identifiers in the last",
          ISSUER_LIMIT_NAMES, false, false },
        { "failures", 429, "rateLimited",
          "too many failed authorizations (5) for \"a.direct.example\" in the last 1h0m0s",
          ISSUER_LIMIT_FAILURES, false, false },
        { "address", 429, "rateLimited",
          "too many new registrations (10) from this IP address in the last 3h0m0s",
          ISSUER_LIMIT_ADDRESS, false, false },
        { "paused", 429, "rateLimited",
          "Your account is temporarily prevented from requesting certificates for a. Please visit",
          ISSUER_LIMIT_PAUSED, false, false },
        { "HTML", 429, "", "", ISSUER_LIMIT_OTHER, false, false },
        { "no limit", 400, "malformed", "too many new orders", ISSUER_LIMIT_NONE, false, false },
        { "replaced", 409, "alreadyReplaced", "", ISSUER_LIMIT_NONE, true, false },
        { "another account", 403, "unauthorized",
          "requester account did not request the certificate being replaced by this order",
          ISSUER_LIMIT_NONE, true, false },
        { "unknown CA", 404, "malformed", "path contained an Authority Key Identifier",
          ISSUER_LIMIT_NONE, true, false },
        { "account closed", 403, "unauthorized", "Account is not valid", ISSUER_LIMIT_NONE, false,
          false },
        { "profile", 400, "invalidProfile", "", ISSUER_LIMIT_NONE, false, true },
        { "profile not for us", 403, "unauthorized",
          "account ID 1 is not permitted to use certificate profile \"shortlived\"",
          ISSUER_LIMIT_NONE, false, true },
    };
    struct errors_problem p;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        memset(&p, 0, sizeof p);
        p.status = ROWS[i].status;
        (void)snprintf(p.type, sizeof p.type, "%s", ROWS[i].type);
        (void)snprintf(p.detail, sizeof p.detail, "%s", ROWS[i].detail);
        if (errors_limit(&p) != ROWS[i].limit || errors_is_replaces(&p) != ROWS[i].replaces ||
            errors_is_profile(&p) != ROWS[i].profile)
            fail_msg("%s", ROWS[i].why);
    }
}

static void test_seen_from_elsewhere(void **state)
{
    struct errors_problem p = { .type = "unauthorized",
                                .detail = "During secondary validation: Incorrect TXT record" };
    struct issuer_reply reply = { .verdict = ISSUER_OK };
    (void)state;
    errors_fill(&reply, ERRORS_VALIDATION, &p);
    assert_true(reply.secondary);
    (void)snprintf(p.detail, sizeof p.detail, "Incorrect TXT record");
    errors_fill(&reply, ERRORS_VALIDATION, &p);
    assert_false(reply.secondary);
}

/* Nothing that a CA can say in an error makes it a success, but that it is revoked already. */
static void test_never_ok(void **state)
{
    struct errors_problem p;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++)
        for (int context = 0; context < ERRORS_REVOKE; context++)
            for (int status = 0; status < 600; status += 1) {
                fill(&p, i);
                p.status = status;
                assert_int_not_equal(errors_classify((enum errors_context)context, &p), ISSUER_OK);
            }
}

static void test_retry_after_in_text(void **state)
{
    static const struct {
        const char *why, *detail;
        int64_t want;
    } TEXTS[] = {
        { "as Boulder writes it",
          "too many failed authorizations (5) for \"a\", retry after 2026-11-21 04:00:30 UTC: see "
          "https://ca.example/docs",
          30 },
        { "RFC 3339", "Retry after 2026-11-21T05:00:00Z", 3600 },
        { "past", "retry after 2026-11-21 03:00:00 UTC", 0 },
        { "no date", "retry after a while", 0 },
        { "none", "no", 0 },
        { "empty", "", 0 },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(TEXTS); i++)
        if (errors_retry_after(TEXTS[i].detail, INT64_C(1795233600)) != TEXTS[i].want)
            fail_msg("%s: %lld", TEXTS[i].why,
                     (long long)errors_retry_after(TEXTS[i].detail, INT64_C(1795233600)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_limits_and_what_to_leave_out),
        cmocka_unit_test(test_seen_from_elsewhere),
        cmocka_unit_test(test_never_ok),
        cmocka_unit_test(test_retry_after_in_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
