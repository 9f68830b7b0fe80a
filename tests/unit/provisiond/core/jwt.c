#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>

#include "common/base/b64url.h"
#include "common/base/buf.h"
#include "provisiond/core/jwt.h"

#define NOW 1700000000
#define ISSUER "https://id.vendor.example"
#define CLAIMS                                                                                     \
    "{\"iss\":\"" ISSUER "\",\"sub\":\"u1\",\"aud\":\"app\",\"exp\":1700000600,\"iat\":"           \
    "1699999990}"

/* One key of each kind, and the set that publishes them as "rsa", "ec" and "ed". */
static EVP_PKEY *keys[JWKS_ALG_N];
static const char *const KIDS[JWKS_ALG_N] = { "rsa", "ec", "ed" };
static const char *const ALGS[JWKS_ALG_N] = { "RS256", "ES256", "EdDSA" };
static struct jwks *set;

static void add_number(struct buf *out, EVP_PKEY *key, const char *param, int len)
{
    uint8_t bytes[512];
    BIGNUM *n = NULL;
    assert_int_equal(EVP_PKEY_get_bn_param(key, param, &n), 1);
    len = len > 0 ? len : BN_num_bytes(n);
    assert_int_equal(BN_bn2binpad(n, bytes, len), len);
    b64url_append(out, (struct span){ bytes, (size_t)len });
    BN_free(n);
}

static int make_keys(void **state)
{
    struct buf text;
    uint8_t x[32];
    size_t len = sizeof x;
    struct err_info info;
    (void)state;
    keys[JWKS_RS256] = EVP_RSA_gen(2048);
    keys[JWKS_ES256] = EVP_EC_gen("P-256");
    keys[JWKS_EDDSA] = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    buf_init(&text, 8192);
    buf_add_str(&text, "{\"keys\":[{\"kid\":\"rsa\",\"kty\":\"RSA\",\"n\":\"");
    add_number(&text, keys[JWKS_RS256], OSSL_PKEY_PARAM_RSA_N, 0);
    buf_add_str(&text, "\",\"e\":\"");
    add_number(&text, keys[JWKS_RS256], OSSL_PKEY_PARAM_RSA_E, 0);
    buf_add_str(&text, "\"},{\"kid\":\"ec\",\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"");
    add_number(&text, keys[JWKS_ES256], OSSL_PKEY_PARAM_EC_PUB_X, 32);
    buf_add_str(&text, "\",\"y\":\"");
    add_number(&text, keys[JWKS_ES256], OSSL_PKEY_PARAM_EC_PUB_Y, 32);
    buf_add_str(&text, "\"},{\"kid\":\"ed\",\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"");
    assert_int_equal(EVP_PKEY_get_raw_public_key(keys[JWKS_EDDSA], x, &len), 1);
    b64url_append(&text, (struct span){ x, len });
    buf_add_str(&text, "\"}]}");
    assert_int_equal(jwks_parse(&set, buf_span(&text), &info), ERR_OK);
    assert_int_equal(jwks_count(set), 3);
    buf_clear(&text);
    return 0;
}

static int free_keys(void **state)
{
    (void)state;
    for (size_t i = 0; i < JWKS_ALG_N; i++)
        EVP_PKEY_free(keys[i]);
    jwks_free(set);
    return 0;
}

/* Appends ".SIGNATURE" by the key for `alg`, whatever the header says. */
static void sign(struct buf *token, enum jwks_alg alg)
{
    uint8_t sig[512], raw[64];
    size_t len = sizeof sig;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_int_equal(
        EVP_DigestSignInit(ctx, NULL, alg == JWKS_EDDSA ? NULL : EVP_sha256(), NULL, keys[alg]), 1);
    assert_int_equal(EVP_DigestSign(ctx, sig, &len, token->p, token->len), 1);
    EVP_MD_CTX_free(ctx);
    struct span out = { sig, len };
    if (alg == JWKS_ES256) {
        const unsigned char *p = sig;
        ECDSA_SIG *s = d2i_ECDSA_SIG(NULL, &p, (long)len);
        assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_r(s), raw, 32), 32);
        assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_s(s), raw + 32, 32), 32);
        ECDSA_SIG_free(s);
        out = (struct span){ raw, sizeof raw };
    }
    buf_add_str(token, ".");
    b64url_append(token, out);
}

static void make_token(struct buf *out, const char *header, const char *claims, enum jwks_alg alg)
{
    buf_init(out, 64 * 1024);
    b64url_append(out, span_str(header));
    buf_add_str(out, ".");
    b64url_append(out, span_str(claims));
    sign(out, alg);
}

static void good_tokens_hold(void **state)
{
    (void)state;
    for (unsigned i = 0; i < JWKS_ALG_N; i++) {
        struct buf token;
        struct jwt t;
        struct err_info info;
        char header[100];
        (void)snprintf(header, sizeof header, "{\"alg\":\"%s\",\"kid\":\"%s\",\"typ\":\"JWT\"}",
                       ALGS[i], KIDS[i]);
        make_token(&token, header, CLAIMS, (enum jwks_alg)i);
        assert_int_equal(jwt_parse(&t, buf_span(&token), &info), ERR_OK);
        assert_int_equal(jwt_check(&t, ISSUER, "app", NOW, &info), ERR_OK);
        assert_int_equal(jwt_verify(&t, buf_span(&token), set), ERR_OK);
        assert_string_equal(t.sub, "u1");
        /* one bit of anything else, and it does not */
        token.p[token.len / 2] ^= 1;
        assert_int_not_equal(jwt_verify(&t, buf_span(&token), set), ERR_OK);
        buf_clear(&token);
    }
}

/* What a token of ours says of its key, and who really signed it. */
static void a_signature_is_by_the_key_named(void **state)
{
    static const struct {
        const char *why, *header;
        enum jwks_alg signer;
        enum err want;
    } CASES[] = {
        { "no key id, one key of the kind", "{\"alg\":\"ES256\"}", JWKS_ES256, ERR_OK },
        { "an unknown key: the issuer may have a new one", "{\"alg\":\"ES256\",\"kid\":\"new\"}",
          JWKS_ES256, ERR_NOTFOUND },
        { "the key of another kind", "{\"alg\":\"ES256\",\"kid\":\"rsa\"}", JWKS_RS256,
          ERR_NOTFOUND },
        { "signed by another key", "{\"alg\":\"EdDSA\",\"kid\":\"ed\"}", JWKS_RS256, ERR_CRYPTO },
        { "a signature of another kind", "{\"alg\":\"ES256\",\"kid\":\"ec\"}", JWKS_RS256,
          ERR_CRYPTO },
        { "ES256 by Ed25519, of the same length", "{\"alg\":\"ES256\",\"kid\":\"ec\"}", JWKS_EDDSA,
          ERR_CRYPTO },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct buf token;
        struct jwt t;
        struct err_info info;
        make_token(&token, CASES[i].header, CLAIMS, CASES[i].signer);
        if (jwt_parse(&t, buf_span(&token), &info) != ERR_OK)
            fail_msg("%s: %s", CASES[i].why, info.text);
        if (jwt_verify(&t, buf_span(&token), set) != CASES[i].want)
            fail_msg("%s", CASES[i].why);
        buf_clear(&token);
    }
}

static const char ES[] = "{\"alg\":\"ES256\",\"kid\":\"ec\"}";

#define WITH(more) "{\"iss\":\"" ISSUER "\",\"sub\":\"u1\"," more "}"
#define AUD "\"aud\":\"app\","

static const struct {
    const char *why, *header, *claims;
    enum err parse, check; /* check counts where parse is ERR_OK */
} TOKENS[] = {
    { "no algorithm", "{\"alg\":\"none\"}", CLAIMS, ERR_RANGE, 0 },
    { "none in other letters", "{\"alg\":\"nOnE\"}", CLAIMS, ERR_RANGE, 0 },
    { "the public key as a secret", "{\"alg\":\"HS256\",\"kid\":\"rsa\"}", CLAIMS, ERR_RANGE, 0 },
    { "PSS, which we do not take", "{\"alg\":\"PS256\",\"kid\":\"rsa\"}", CLAIMS, ERR_RANGE, 0 },
    { "no alg", "{\"kid\":\"ec\"}", CLAIMS, ERR_RANGE, 0 },
    { "alg is no text", "{\"alg\":5}", CLAIMS, ERR_RANGE, 0 },
    { "critical members", "{\"alg\":\"ES256\",\"crit\":[\"b64\"],\"b64\":false}", CLAIMS, ERR_RANGE,
      0 },
    { "alg twice", "{\"alg\":\"ES256\",\"alg\":\"none\"}", CLAIMS, ERR_INVALID, 0 },
    { "kid is no text", "{\"alg\":\"ES256\",\"kid\":{}}", CLAIMS, ERR_INVALID, 0 },
    { "header is no object", "[]", CLAIMS, ERR_INVALID, 0 },
    { "claims are no object", ES, "\"x\"", ERR_INVALID, 0 },
    { "no claims", ES, "", ERR_INVALID, 0 },
    { "no subject", ES, "{\"iss\":\"" ISSUER "\",\"aud\":\"app\",\"exp\":1700000600}", ERR_INVALID,
      0 },
    { "empty subject", ES, "{\"iss\":\"i\",\"sub\":\"\",\"aud\":\"app\",\"exp\":1700000600}",
      ERR_INVALID, 0 },
    { "a NUL in the subject", ES,
      "{\"iss\":\"i\",\"sub\":\"u\\u0000v\",\"aud\":\"app\",\"exp\":1700000600}", ERR_INVALID, 0 },
    { "no end", ES, WITH("\"aud\":\"app\""), ERR_INVALID, 0 },
    { "an end that is no number", ES, WITH(AUD "\"exp\":\"1700000600\""), ERR_INVALID, 0 },
    { "an end below all", ES, WITH(AUD "\"exp\":-5"), ERR_INVALID, 0 },
    { "an end above all", ES, WITH(AUD "\"exp\":1e300"), ERR_INVALID, 0 },
    { "no audience", ES, WITH("\"exp\":1700000600"), ERR_INVALID, 0 },
    { "an empty list of audiences", ES, WITH("\"aud\":[],\"exp\":1700000600"), ERR_INVALID, 0 },
    { "a list of audiences with no text", ES, WITH("\"aud\":[\"app\",5],\"exp\":1700000600"),
      ERR_INVALID, 0 },
    { "nine audiences", ES,
      WITH("\"aud\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"app\"],\"exp\":1700000600"),
      ERR_INVALID, 0 },
    { "nbf is no number", ES, WITH(AUD "\"exp\":1700000600,\"nbf\":\"x\""), ERR_INVALID, 0 },
    { "one of several audiences", ES, WITH("\"aud\":[\"x\",\"app\"],\"exp\":1700000600"), ERR_OK,
      ERR_OK },
    { "a date with a fraction", ES, WITH(AUD "\"exp\":1700000600.5"), ERR_OK, ERR_OK },
    { "another audience", ES, WITH("\"aud\":\"application\",\"exp\":1700000600"), ERR_OK,
      ERR_DENIED },
    { "another issuer", ES,
      "{\"iss\":\"" ISSUER "/\",\"sub\":\"u1\",\"aud\":\"app\",\"exp\":1700000600}", ERR_OK,
      ERR_DENIED },
    { "expired", ES, WITH(AUD "\"exp\":1699999939"), ERR_OK, ERR_DENIED },
    { "expired within the leeway", ES, WITH(AUD "\"exp\":1699999941"), ERR_OK, ERR_OK },
    { "not yet valid", ES, WITH(AUD "\"exp\":1700009999,\"nbf\":1700000061"), ERR_OK, ERR_DENIED },
    { "valid within the leeway", ES, WITH(AUD "\"exp\":1700009999,\"nbf\":1700000060"), ERR_OK,
      ERR_OK },
    { "issued in the future", ES, WITH(AUD "\"exp\":1700009999,\"iat\":1700000061"), ERR_OK,
      ERR_DENIED },
};

static void hostile_tokens_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(TOKENS); i++) {
        struct buf token;
        struct jwt t;
        struct err_info info;
        make_token(&token, TOKENS[i].header, TOKENS[i].claims, JWKS_ES256);
        enum err e = jwt_parse(&t, buf_span(&token), &info);
        if (e != TOKENS[i].parse)
            fail_msg("%s: %s", TOKENS[i].why, err_name(e));
        if (e == ERR_OK && jwt_check(&t, ISSUER, "app", NOW, &info) != TOKENS[i].check)
            fail_msg("%s: %s", TOKENS[i].why, info.text);
        buf_clear(&token);
    }
}

static void other_texts_are_no_tokens(void **state)
{
    static const struct {
        const char *why, *text;
    } TEXTS[] = {
        { "nothing", "" },
        { "one part", "eyJhbGciOiJFUzI1NiJ9" },
        { "two parts", "eyJhbGciOiJFUzI1NiJ9.e30" },
        { "no signature", "eyJhbGciOiJFUzI1NiJ9.e30." },
        { "four parts", "eyJhbGciOiJFUzI1NiJ9.e30.AAAA.AAAA" },
        { "padding", "eyJhbGciOiJFUzI1NiJ9.e30=.AAAA" },
        { "dots", "..." },
    };
    struct jwt t;
    struct err_info info;
    struct buf token;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(TEXTS); i++)
        if (jwt_parse(&t, span_str(TEXTS[i].text), &info) != ERR_INVALID)
            fail_msg("%s", TEXTS[i].why);
    make_token(&token, ES, CLAIMS, JWKS_ES256);
    while (token.len <= JWT_TEXT_MAX)
        buf_add_str(&token, "AAAA");
    assert_int_equal(jwt_parse(&t, buf_span(&token), &info), ERR_LIMIT);
    buf_clear(&token);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_tokens_hold),
        cmocka_unit_test(a_signature_is_by_the_key_named),
        cmocka_unit_test(hostile_tokens_are_refused),
        cmocka_unit_test(other_texts_are_no_tokens),
    };
    return cmocka_run_group_tests(tests, make_keys, free_keys);
}
