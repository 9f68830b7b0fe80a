#include "provisiond/acme/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#define U "https://ca.example"

static void test_urls(void **state)
{
    static char longest[ISSUER_URL_MAX + 1];
    static const struct {
        const char *why, *url;
        bool ok;
    } URLS[] = {
        { "plain", "https://ca.example/x?y=1", true },
        { "a port", "https://127.0.0.1:14000/dir", true },
        { "a scheme of any case", "HTTPS://ca.example/", true },
        { "no path", "https://ca.example", true },
        { "not encrypted", "http://ca.example/", false },
        { "a file", "file:///etc/passwd", false },
        { "relative", "/acct/1", false },
        { "no host", "https:///x", false },
        { "only a port", "https://:443/x", false },
        { "credentials", "https://user:pw@ca.example/", false },
        { "an at sign after the host is data", "https://ca.example/a@b", true },
        { "a space", "https://ca.example/a b", false },
        { "a line of its own", "https://ca.example/\r\nHost: x", false },
        { "a quote", "https://ca.example/\"", false },
        { "not ASCII", "https://caf\xc3\xa9.example/", false },
        { "empty", "", false },
        { "too long to keep", longest, false },
    };
    (void)state;
    memset(longest, 'a', sizeof longest - 1);
    memcpy(longest, U "/", sizeof U);
    for (size_t i = 0; i < ARRAY_LEN(URLS); i++)
        if (message_url_ok(URLS[i].url) != URLS[i].ok)
            fail_msg("%s", URLS[i].why);
    assert_true(message_url_ok(longest + 0) == false);
    longest[ISSUER_URL_MAX - 1] = 0;
    assert_true(message_url_ok(longest));
}

#define DIR_URLS "\"newNonce\":\"" U "/n\",\"newAccount\":\"" U "/a\",\"newOrder\":\"" U "/o\""

static void test_directory(void **state)
{
    static const struct {
        const char *why, *json;
        enum err want;
        bool eab;
    } CASES[] = {
        { "the least", "{" DIR_URLS "}", ERR_OK, false },
        { "with what we do not know",
          "{" DIR_URLS ",\"x\":[{}],\"keyChange\":7,\"meta\":{\"y\":1}}", ERR_OK, false },
        { "binding required", "{" DIR_URLS ",\"meta\":{\"externalAccountRequired\":true}}", ERR_OK,
          true },
        { "meta of another kind", "{" DIR_URLS ",\"meta\":[1]}", ERR_OK, false },
        { "a URL missing", "{\"newNonce\":\"" U "/n\",\"newAccount\":\"" U "/a\"}", ERR_INVALID,
          false },
        { "a URL that is a number", "{\"newNonce\":7}", ERR_INVALID, false },
        { "a URL that is not https",
          "{\"newNonce\":\"http://a/\",\"newAccount\":\"" U "/a\",\"newOrder\":\"" U "/o\"}",
          ERR_INVALID, false },
        { "a member twice", "{" DIR_URLS "," DIR_URLS "}", ERR_INVALID, false },
        { "an array", "[]", ERR_INVALID, false },
        { "nothing", "", ERR_INVALID, false },
        { "an error page", "<html>", ERR_INVALID, false },
        { "cut off", "{" DIR_URLS, ERR_INVALID, false },
        { "something after it", "{" DIR_URLS "}{}", ERR_INVALID, false },
        { "deeper than anybody means",
          "{" DIR_URLS ",\"x\":[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]}", ERR_LIMIT, false },
        { "brackets in a string are not depth", "{" DIR_URLS ",\"x\":\"\\\"[[[[[[[[[[[[[[[[[[[[\"}",
          ERR_OK, false },
    };
    struct message_directory d;
    struct err_info info;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        enum err e = message_parse_directory(span_str(CASES[i].json), &d, &info);
        if (e != CASES[i].want || (e == ERR_OK && d.eab_required != CASES[i].eab))
            fail_msg("%s: %s", CASES[i].why, err_name(e));
        if (e == ERR_OK)
            assert_string_equal(d.new_order, U "/o");
    }
}

static void test_too_large(void **state)
{
    static char body[MESSAGE_MAX + 2];
    struct message_directory d;
    (void)state;
    memset(body, ' ', sizeof body);
    memcpy(body, "{" DIR_URLS "}", strlen("{" DIR_URLS "}"));
    assert_int_equal(
        message_parse_directory((struct span){ (uint8_t *)body, MESSAGE_MAX }, &d, NULL), ERR_OK);
    assert_int_equal(
        message_parse_directory((struct span){ (uint8_t *)body, MESSAGE_MAX + 1 }, &d, NULL),
        ERR_LIMIT);
}

#define FIN "\"finalize\":\"" U "/f\""
#define AUTHZ(list) "\"authorizations\":[" list "]"

static void test_order(void **state)
{
    static const struct {
        const char *why, *json;
        enum err want;
        enum issuer_status status;
        size_t n_authz;
    } CASES[] = {
        { "pending", "{\"status\":\"pending\"," FIN "," AUTHZ("\"" U "/z/1\",\"" U "/z/2\"") "}",
          ERR_OK, ISSUER_PENDING, 2 },
        { "ready at once", "{\"status\":\"ready\"," FIN "," AUTHZ("\"" U "/z/1\"") "}", ERR_OK,
          ISSUER_READY, 1 },
        { "processing needs nothing", "{\"status\":\"processing\"}", ERR_OK, ISSUER_PROCESSING, 0 },
        { "valid", "{\"status\":\"valid\"," FIN ",\"certificate\":\"" U "/c\"}", ERR_OK,
          ISSUER_VALID, 0 },
        { "null is absent", "{\"status\":\"processing\",\"certificate\":null}", ERR_OK,
          ISSUER_PROCESSING, 0 },
        { "invalid", "{\"status\":\"invalid\"}", ERR_OK, ISSUER_INVALID, 0 },
        { "a word from the future", "{\"status\":\"pondering\"}", ERR_OK, ISSUER_OTHER, 0 },
        { "no status", "{" FIN "}", ERR_INVALID, 0, 0 },
        { "valid without a certificate", "{\"status\":\"valid\"," FIN "}", ERR_INVALID, 0, 0 },
        { "ready without finalize", "{\"status\":\"ready\"}", ERR_INVALID, 0, 0 },
        { "pending without authorisations", "{\"status\":\"pending\"," FIN "}", ERR_INVALID, 0, 0 },
        { "more authorisations than names",
          "{\"status\":\"pending\"," FIN "," AUTHZ("\"" U "/1\",\"" U "/2\",\"" U "/3\"") "}",
          ERR_LIMIT, 0, 0 },
        { "an authorisation that is an object", "{\"status\":\"pending\"," FIN "," AUTHZ("{}") "}",
          ERR_INVALID, 0, 0 },
        { "an authorisation elsewhere",
          "{\"status\":\"pending\"," FIN "," AUTHZ("\"http://a/\"") "}", ERR_INVALID, 0, 0 },
    };
    struct message_order o;
    struct err_info info;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        enum err e = message_parse_order(span_str(CASES[i].json), &o, &info);
        if (e != CASES[i].want ||
            (e == ERR_OK && (o.status != CASES[i].status || o.n_authz != CASES[i].n_authz)))
            fail_msg("%s: %s", CASES[i].why, err_name(e));
    }
    assert_int_equal(message_parse_order(span_str("{\"status\":\"invalid\",\"error\":{\"type\":"
                                                  "\"urn:ietf:params:acme:error:caa\"}}"),
                                         &o, NULL),
                     ERR_OK);
    assert_true(o.has_error);
    assert_string_equal(o.error.type, "caa");
}

#define TOKEN "\"token\":\"evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA\""
#define DNS01 "{\"type\":\"dns-01\",\"url\":\"" U "/ch\",\"status\":\"pending\"," TOKEN "}"

static void test_authz(void **state)
{
    static const struct {
        const char *why, *json;
        enum err want;
        enum issuer_status status;
        bool has_challenge;
    } CASES[] = {
        { "pending", "{\"status\":\"pending\",\"challenges\":[" DNS01 "]}", ERR_OK, ISSUER_PENDING,
          true },
        { "after types that we do not know",
          "{\"status\":\"pending\",\"challenges\":[{\"type\":\"dns-persist-01\"},{},7,null,"
          "{\"type\":\"http-01\",\"url\":5}," DNS01 "]}",
          ERR_OK, ISSUER_PENDING, true },
        { "another type only", "{\"status\":\"pending\",\"challenges\":[{\"type\":\"http-01\"}]}",
          ERR_OK, ISSUER_PENDING, false },
        { "no challenges", "{\"status\":\"pending\"}", ERR_OK, ISSUER_PENDING, false },
        { "valid by another type", "{\"status\":\"valid\",\"challenges\":[{\"type\":\"x\"}]}",
          ERR_OK, ISSUER_VALID, false },
        { "valid, the token left out",
          "{\"status\":\"valid\",\"challenges\":[{\"type\":\"dns-01\",\"url\":\"" U
          "/ch\",\"status\":\"valid\"}]}",
          ERR_OK, ISSUER_VALID, true },
        { "expired is over", "{\"status\":\"expired\"}", ERR_OK, ISSUER_INVALID, false },
        { "revoked is over", "{\"status\":\"revoked\"}", ERR_OK, ISSUER_INVALID, false },
        { "deactivated is over", "{\"status\":\"deactivated\"}", ERR_OK, ISSUER_INVALID, false },
        { "no token",
          "{\"status\":\"pending\",\"challenges\":[{\"type\":\"dns-01\",\"url\":\"" U
          "/ch\",\"status\":\"pending\"}]}",
          ERR_INVALID, 0, false },
        { "a token with a dot would be two",
          "{\"status\":\"pending\",\"challenges\":[{\"type\":\"dns-01\",\"url\":\"" U
          "/ch\",\"status\":\"pending\",\"token\":\"a.b\"}]}",
          ERR_INVALID, 0, false },
        { "no URL",
          "{\"status\":\"pending\",\"challenges\":[{\"type\":\"dns-01\","
          "\"status\":\"pending\"," TOKEN "}]}",
          ERR_INVALID, 0, false },
        { "a status that is a number", "{\"status\":1}", ERR_INVALID, 0, false },
    };
    struct message_authz a;
    struct err_info info;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        enum err e = message_parse_authz(span_str(CASES[i].json), "dns-01", true, &a, &info);
        if (e != CASES[i].want || (e == ERR_OK && (a.status != CASES[i].status ||
                                                   a.has_challenge != CASES[i].has_challenge)))
            fail_msg("%s: %s", CASES[i].why, err_name(e));
    }
}

#define PERSIST(members)                                                                           \
    "{\"status\":\"pending\",\"challenges\":[{\"type\":\"dns-persist-01\",\"url\":\"" U            \
    "/ch\",\"status\":\"pending\"" members "}]}"
#define ELEVEN "\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\""

/* By which the CA may be named in a record. [draft-ietf-acme-dns-persist-02 s3.1] */
static void test_persist(void **state)
{
    static const struct {
        const char *why, *json;
        enum err want;
        size_t n;
        const char *last;
    } CASES[] = {
        { "draft 02", PERSIST(",\"issuerDomainNames\":[\"ca.test\",\"x.test\"]"), ERR_OK, 2,
          "x.test" },
        { "drafts 00 and 01", PERSIST(",\"issuer-domain-names\":[\"ca.test\"]"), ERR_OK, 1,
          "ca.test" },
        { "not as it should be written", PERSIST(",\"issuerDomainNames\":[\"CA.test.\"]"), ERR_OK,
          1, "ca.test" },
        { "none", PERSIST(",\"issuerDomainNames\":[]"), ERR_INVALID, 0, NULL },
        { "missing", PERSIST(""), ERR_INVALID, 0, NULL },
        { "too many", PERSIST(",\"issuerDomainNames\":[" ELEVEN "]"), ERR_INVALID, 0, NULL },
        { "a number", PERSIST(",\"issuerDomainNames\":[7]"), ERR_INVALID, 0, NULL },
        { "a text that would end the name", PERSIST(",\"issuerDomainNames\":[\"a;b\"]"),
          ERR_INVALID, 0, NULL },
        { "a dot alone", PERSIST(",\"issuerDomainNames\":[\".\"]"), ERR_INVALID, 0, NULL },
    };
    struct message_authz a;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        enum err e =
            message_parse_authz(span_str(CASES[i].json), "dns-persist-01", false, &a, NULL);
        if (e != CASES[i].want || (e == ERR_OK && a.challenge.persist.n != CASES[i].n))
            fail_msg("%s: %s", CASES[i].why, err_name(e));
        if (e == ERR_OK)
            assert_string_equal(a.challenge.persist.at[CASES[i].n - 1], CASES[i].last);
    }
}

static void test_persist_in_the_directory(void **state)
{
    static const struct {
        const char *why, *json, *domain, *prefix;
    } CASES[] = {
        { "draft 02",
          "{" DIR_URLS ",\"meta\":{\"caaIdentities\":[\"x.test\"],\"issuerDomainNames\":"
          "[\"ca.test\"],\"accountHashPrefix\":\"" U "/h/\"}}",
          "ca.test", U "/h/" },
        { "before it", "{" DIR_URLS ",\"meta\":{\"caaIdentities\":[\"X.test\"]}}", "x.test", "" },
        { "nothing", "{" DIR_URLS "}", NULL, "" },
        { "a prefix that would end the URI",
          "{" DIR_URLS ",\"meta\":{\"accountHashPrefix\":\"" U "/;\"}}", NULL, "" },
        { "a prefix of another kind", "{" DIR_URLS ",\"meta\":{\"accountHashPrefix\":[1]}}", NULL,
          "" },
    };
    struct message_directory d;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        assert_int_equal(message_parse_directory(span_str(CASES[i].json), &d, NULL), ERR_OK);
        if (d.persist.n != (CASES[i].domain != NULL) ||
            (d.persist.n > 0 && strcmp(d.persist.at[0], CASES[i].domain) != 0) ||
            strcmp(d.hash_prefix, CASES[i].prefix) != 0)
            fail_msg("%s", CASES[i].why);
    }
}

static void test_challenge(void **state)
{
    struct message_challenge c;
    (void)state;
    assert_int_equal(message_parse_challenge(span_str(DNS01), &c, NULL), ERR_OK);
    assert_int_equal(c.status, ISSUER_PENDING);
    assert_false(c.has_error);
    assert_int_equal(
        message_parse_challenge(
            span_str("{\"type\":\"dns-01\",\"url\":\"" U "/ch\",\"status\":\"pending\",\"error\":"
                     "{\"type\":\"urn:ietf:params:acme:error:dns\",\"detail\":\"a\\nb\"}}"),
            &c, NULL),
        ERR_OK);
    assert_true(c.has_error);
    assert_string_equal(c.error.type, "dns");
    assert_string_equal(c.error.detail, "a?b"); /* never a line of its own in the log */
}

static void test_problem(void **state)
{
    static const struct {
        const char *why, *body, *type;
        size_t n_sub;
    } CASES[] = {
        { "a document", "{\"type\":\"urn:ietf:params:acme:error:badNonce\",\"detail\":\"x\"}",
          "badNonce", 0 },
        { "another namespace", "{\"type\":\"about:blank\"}", "", 0 },
        { "HTML", "<html>429</html>", "", 0 },
        { "nothing", "", "", 0 },
        { "an array", "[1]", "", 0 },
        { "kinds mixed up", "{\"type\":[],\"detail\":{},\"subproblems\":\"x\"}", "", 0 },
        { "subproblems",
          "{\"type\":\"urn:ietf:params:acme:error:compound\",\"subproblems\":[{\"type\":"
          "\"urn:ietf:params:acme:error:caa\"},5]}",
          "compound", 2 },
        { "a long type is cut",
          "{\"type\":\"urn:ietf:params:acme:error:"
          "0123456789012345678901234567890123456789012345678901234567890123456789\"}",
          "01234567890123456789012345678901234567890123456", 0 },
    };
    struct errors_problem p;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        message_parse_problem(span_str(CASES[i].body), 400, &p);
        if (p.status != 400 || strcmp(p.type, CASES[i].type) != 0 || p.n_sub != CASES[i].n_sub)
            fail_msg("%s: %s", CASES[i].why, p.type);
    }
    assert_string_equal(p.detail, "");
}

static void test_payloads(void **state)
{
    static const char *const NAMES[] = { "*.a.example", "a.example" };
    struct buf out;
    struct message_account account;
    struct issuer_params params = { .names = NAMES, .n_names = 2 };
    (void)state;
    buf_init(&out, 4096);
    assert_int_equal(message_new_order(&out, &params), ERR_OK);
    assert_string_equal(buf_str(&out),
                        "{\"identifiers\":[{\"type\":\"dns\",\"value\":\"*.a.example\"},"
                        "{\"type\":\"dns\",\"value\":\"a.example\"}]}");
    buf_reset(&out);
    params = (struct issuer_params){
        .names = NAMES, .n_names = 1, .profile = "p", .replaces = "a.b", .not_after = 1795000000
    };
    assert_int_equal(message_new_order(&out, &params), ERR_OK);
    assert_string_equal(buf_str(&out),
                        "{\"identifiers\":[{\"type\":\"dns\",\"value\":\"*.a.example\"}],"
                        "\"profile\":\"p\",\"replaces\":\"a.b\","
                        "\"notAfter\":\"2026-11-18T11:06:40Z\"}");
    buf_reset(&out);
    assert_int_equal(message_new_account(&out, NULL, span_str("")), ERR_OK);
    assert_string_equal(buf_str(&out), "{\"termsOfServiceAgreed\":true}");
    buf_reset(&out);
    assert_int_equal(message_new_account(&out, "o@a.example", span_str("{\"payload\":\"\"}")),
                     ERR_OK);
    assert_string_equal(buf_str(&out),
                        "{\"termsOfServiceAgreed\":true,\"contact\":[\"mailto:o@a.example\"],"
                        "\"externalAccountBinding\":{\"payload\":\"\"}}");
    buf_reset(&out);
    assert_int_equal(message_new_account(&out, "o\xff@a.example", span_str("")), ERR_INVALID);
    buf_reset(&out);
    assert_int_equal(message_finalize(&out, span_str("0\x82")), ERR_OK);
    assert_string_equal(buf_str(&out), "{\"csr\":\"MII\"}");
    buf_clear(&out);
    assert_int_equal(
        message_parse_account(span_str("{\"status\":\"deactivated\"}"), &account, NULL), ERR_OK);
    assert_int_equal(account.status, ISSUER_INVALID);
}

static void test_window(void **state)
{
    static const struct {
        const char *why, *start, *end;
        enum err want;
        int64_t start_at;
    } CASES[] = {
        { "UTC", "2026-11-21T04:00:00Z", "2026-11-22T04:00:00Z", ERR_OK, 1795233600 },
        { "with a fraction", "2026-11-21T04:00:00.123456789Z", "2026-11-21T04:00:01Z", ERR_OK,
          1795233600 },
        { "with an offset", "2026-11-21T05:30:00+01:30", "2026-11-22T04:00:00Z", ERR_OK,
          1795233600 },
        { "in the past", "1999-11-21T04:00:00Z", "2000-11-22T04:00:00Z", ERR_OK, 943156800 },
        { "ends as it begins", "2026-11-21T04:00:00Z", "2026-11-21T04:00:00Z", ERR_INVALID, 0 },
        { "ends before it begins", "2026-11-21T04:00:00Z", "2026-11-20T04:00:00Z", ERR_INVALID, 0 },
        { "no zone", "2026-11-21T04:00:00", "2026-11-22T04:00:00Z", ERR_INVALID, 0 },
        { "no date", "soon", "2026-11-22T04:00:00Z", ERR_INVALID, 0 },
        { "short digits", "2026-11-21T4:00:00Z0", "2026-11-22T04:00:00Z", ERR_INVALID, 0 },
        { "something after it", "2026-11-21T04:00:00Zx", "2026-11-22T04:00:00Z", ERR_INVALID, 0 },
        { "an offset that is none", "2026-11-21T04:00:00+1:300", "2026-11-22T04:00:00Z",
          ERR_INVALID, 0 },
    };
    struct message_window w;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        char json[256];
        (void)snprintf(json, sizeof json,
                       "{\"suggestedWindow\":{\"start\":\"%s\",\"end\":\"%s\",\"x\":1},"
                       "\"explanationURL\":\"http://in.the.clear/\",\"y\":[]}",
                       CASES[i].start, CASES[i].end);
        enum err e = message_parse_window(span_str(json), &w, NULL);
        if (e != CASES[i].want || (e == ERR_OK && w.start_at != CASES[i].start_at))
            fail_msg("%s: %s %lld", CASES[i].why, err_name(e), (long long)w.start_at);
        assert_string_equal(w.explanation, "");
    }
    assert_int_equal(message_parse_window(span_str("{}"), &w, NULL), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_directory),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_authz),
        cmocka_unit_test(test_challenge),
        cmocka_unit_test(test_problem),
        cmocka_unit_test(test_payloads),
        cmocka_unit_test(test_persist),
        cmocka_unit_test(test_persist_in_the_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
