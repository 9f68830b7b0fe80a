#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "provisiond/core/jwks.h"

/* The examples of RFC 7517 A.1 and RFC 8037 A.2. */
#define RSA_N                                                                                      \
    "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_"      \
    "BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_"                              \
    "RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpb" \
    "ISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJ" \
    "zKnqDKgw"
#define RSA "\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"" RSA_N "\""
#define X "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4"
#define Y "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"
#define EC "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" X "\",\"y\":\"" Y "\""
#define OKP                                                                                        \
    "\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\""

static const struct {
    const char *why, *text, *kid;
    enum jwks_alg alg;
    size_t n; /* keys of use */
    bool found;
} SETS[] = {
    { "by its id", "{\"keys\":[{" EC ",\"kid\":\"a\"}]}", "a", JWKS_ES256, 1, true },
    { "RSA", "{\"keys\":[{" RSA ",\"kid\":\"a\"}]}", "a", JWKS_RS256, 1, true },
    { "Ed25519", "{\"keys\":[{" OKP ",\"kid\":\"a\"}]}", "a", JWKS_EDDSA, 1, true },
    { "another id", "{\"keys\":[{" EC ",\"kid\":\"a\"}]}", "b", JWKS_ES256, 1, false },
    { "an RSA key is not for ES256", "{\"keys\":[{" RSA ",\"kid\":\"a\"}]}", "a", JWKS_ES256, 1,
      false },
    { "no id asked for, one key fits", "{\"keys\":[{" EC "},{" RSA "}]}", "", JWKS_ES256, 2, true },
    { "no id asked for, two fit", "{\"keys\":[{" EC "},{" EC ",\"kid\":\"b\"}]}", "", JWKS_ES256, 2,
      false },
    { "one id for two keys of a kind", "{\"keys\":[{" EC ",\"kid\":\"a\"},{" EC ",\"kid\":\"a\"}]}",
      "a", JWKS_ES256, 2, false },
    { "one id for two kinds", "{\"keys\":[{" EC ",\"kid\":\"a\"},{" RSA ",\"kid\":\"a\"}]}", "a",
      JWKS_RS256, 2, true },
    { "for encryption", "{\"keys\":[{" EC ",\"use\":\"enc\"}]}", "", JWKS_ES256, 0, false },
    { "use is no text", "{\"keys\":[{" EC ",\"use\":1}]}", "", JWKS_ES256, 0, false },
    { "for signatures", "{\"keys\":[{" EC ",\"use\":\"sig\",\"alg\":\"ES256\"}]}", "", JWKS_ES256,
      1, true },
    { "for another algorithm", "{\"keys\":[{" RSA ",\"alg\":\"PS256\"}]}", "", JWKS_RS256, 0,
      false },
    { "a point off the curve",
      "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" X "\",\"y\":\"" X "\"}]}", "",
      JWKS_ES256, 0, false },
    { "another curve",
      "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"" X "\",\"y\":\"" Y "\"}]}", "",
      JWKS_ES256, 0, false },
    { "half a point", "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" X "\"}]}", "",
      JWKS_ES256, 0, false },
    { "a short RSA key",
      "{\"keys\":[{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHU"
      "Ro\"}]}",
      "", JWKS_RS256, 0, false },
    { "RSA exponent 1", "{\"keys\":[{\"kty\":\"RSA\",\"e\":\"AQ\",\"n\":\"" RSA_N "\"}]}", "",
      JWKS_RS256, 0, false },
    { "a symmetric key", "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\",\"kid\":\"a\"}]}", "a",
      JWKS_RS256, 0, false },
    { "a key without kind", "{\"keys\":[{\"kid\":\"a\"}, 5, null, []]}", "a", JWKS_RS256, 0,
      false },
    { "no key", "{\"keys\":[]}", "", JWKS_RS256, 0, false },
};

static void keys_are_found_for_what_they_are(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(SETS); i++) {
        struct jwks *s = NULL;
        struct err_info info;
        if (jwks_parse(&s, span_str(SETS[i].text), &info) != ERR_OK)
            fail_msg("%s: %s", SETS[i].why, info.text);
        if (jwks_count(s) != SETS[i].n)
            fail_msg("%s: %zu keys", SETS[i].why, jwks_count(s));
        if ((jwks_find(s, SETS[i].kid, SETS[i].alg) != NULL) != SETS[i].found)
            fail_msg("%s", SETS[i].why);
        jwks_free(s);
    }
}

static void other_texts_are_no_sets(void **state)
{
    static const char *const TEXTS[] = {
        "", "[]", "{}", "{\"keys\":{}}", "{\"keys\":[", "nonsense", "{\"keys\":[],\"keys\":[]}"
    };
    struct jwks *s = NULL;
    struct err_info info;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(TEXTS); i++)
        if (jwks_parse(&s, span_str(TEXTS[i]), &info) != ERR_INVALID)
            fail_msg("%s", TEXTS[i]);
    assert_null(s);
}

static void a_large_set_has_an_end(void **state)
{
    struct jwks *s = NULL;
    struct err_info info;
    struct buf text;
    (void)state;
    buf_init(&text, 2 * JWKS_TEXT_MAX);
    buf_add_str(&text, "{\"keys\":[{" EC ",\"kid\":\"first\"}");
    for (unsigned i = 0; i < 2 * JWKS_KEYS_MAX; i++)
        buf_add_fmt(&text, ",{" EC ",\"kid\":\"%u\"}", i);
    buf_add_str(&text, "]}");
    assert_int_equal(jwks_parse(&s, buf_span(&text), &info), ERR_OK);
    assert_int_equal(jwks_count(s), JWKS_KEYS_MAX);
    assert_non_null(jwks_find(s, "first", JWKS_ES256));
    jwks_free(s);
    s = NULL;
    while (text.len <= JWKS_TEXT_MAX)
        buf_add_str(&text, "          ");
    assert_int_equal(jwks_parse(&s, buf_span(&text), &info), ERR_LIMIT);
    buf_clear(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_found_for_what_they_are),
        cmocka_unit_test(other_texts_are_no_sets),
        cmocka_unit_test(a_large_set_has_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
