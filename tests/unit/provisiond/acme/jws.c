#include "provisiond/acme/jws.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/pem.h>

#include "common/base/b64url.h"

/* The key of RFC 7515 appendix A.3. */
static const char KEY_PEM[] = "-----BEGIN PRIVATE KEY-----\n"
                              "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgjpsQnnGQmL+YBIff\n"
                              "H1136cspYG6+0iY7X1fCE9+E9LKhRANCAAR/zc4ncPbEXUGDy+5v20t7WAczNXvp\n"
                              "7xO6z248e9FURcfxRM0bvZt+hyzf7bnuufSzaV1uqQskrYpGIyiFiOWt\n"
                              "-----END PRIVATE KEY-----\n";
#define JWK                                                                                        \
    "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","     \
    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}"
#define THUMBPRINT "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U"

static EVP_PKEY *key;

static int load_key(void **state)
{
    (void)state;
    BIO *bio = BIO_new_mem_buf(KEY_PEM, -1);
    key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    BIO_free(bio);
    return key == NULL;
}

static int free_key(void **state)
{
    (void)state;
    EVP_PKEY_free(key);
    return 0;
}

/* Member `name` of a JWS, decoded; malloc()ed and NUL-terminated. */
static char *member(const struct buf *jws, const char *name, size_t *len)
{
    char mark[32];
    (void)snprintf(mark, sizeof mark, "\"%s\":\"", name);
    const char *at = strstr(buf_str(jws), mark);
    assert_non_null(at);
    at += strlen(mark);
    size_t n = strcspn(at, "\"");
    char *out = calloc(1, n + 1);
    assert_int_equal(b64url_decode((struct span){ (const uint8_t *)at, n }, (uint8_t *)out, n, len),
                     ERR_OK);
    return out;
}

/* Whether OpenSSL finds the signature over "protected.payload" good. */
static bool verifies(const struct buf *jws)
{
    size_t sig_len, head_len, payload_len;
    char *sig = member(jws, "signature", &sig_len);
    char *head = member(jws, "protected", &head_len),
         *payload = member(jws, "payload", &payload_len);
    struct buf input;
    unsigned char *der = NULL;
    assert_int_equal(sig_len, 64);
    buf_init(&input, 65536);
    b64url_append(&input, (struct span){ (uint8_t *)head, head_len });
    buf_add_str(&input, ".");
    b64url_append(&input, (struct span){ (uint8_t *)payload, payload_len });
    ECDSA_SIG *es = ECDSA_SIG_new();
    ECDSA_SIG_set0(es, BN_bin2bn((unsigned char *)sig, 32, NULL),
                   BN_bin2bn((unsigned char *)sig + 32, 32, NULL));
    int n = i2d_ECDSA_SIG(es, &der);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
              EVP_DigestVerify(ctx, der, (size_t)n, input.p, input.len) == 1;
    EVP_MD_CTX_free(ctx);
    OPENSSL_free(der);
    ECDSA_SIG_free(es);
    buf_clear(&input);
    free(sig);
    free(head);
    free(payload);
    return ok;
}

static void test_jwk(void **state)
{
    struct buf out;
    char thumbprint[JWS_THUMBPRINT_LEN + 1], txt[JWS_THUMBPRINT_LEN + 1];
    (void)state;
    buf_init(&out, 1024);
    assert_int_equal(jws_jwk(&out, key), ERR_OK);
    assert_string_equal(buf_str(&out), JWK);
    assert_int_equal(jws_thumbprint(thumbprint, key), ERR_OK);
    assert_string_equal(thumbprint, THUMBPRINT);
    jws_txt_value(txt, "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA", thumbprint);
    assert_string_equal(txt, "ZaJgFtIV4WA0t2MzN7kbSk0sfRd2GZjaxRqaSTAK6lI");
    buf_clear(&out);
}

static void test_other_keys(void **state)
{
    static const struct {
        const char *why, *group, *start;
        enum err want;
        size_t signature_len;
    } CASES[] = {
        { "RSA, as a device may have", "RSA", "{\"e\":\"AQAB\",\"kty\":\"RSA\",\"n\":\"", ERR_OK,
          256 },
        { "P-384", "P-384", "{\"crv\":\"P-384\",\"kty\":\"EC\",\"x\":\"", ERR_OK, 96 },
        { "no algorithm of ours", "ED25519", "", ERR_CONFIG, 0 },
        { "a curve of others", "P-521", "", ERR_CONFIG, 0 },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct buf jwk, jws;
        struct jws_header head = { .url = "https://ca.example/r", .nonce = "n" };
        EVP_PKEY *other = strcmp(CASES[i].group, "RSA") == 0 ? EVP_RSA_gen(2048)
                          : CASES[i].group[0] == 'E' ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")
                                                     : EVP_EC_gen(CASES[i].group);
        buf_init(&jwk, 4096);
        buf_init(&jws, 16384);
        enum err e = jws_jwk(&jwk, other);
        if (e != CASES[i].want || jws_sign(&jws, other, &head, span_str("{}")) != CASES[i].want ||
            (e == ERR_OK && strncmp(buf_str(&jwk), CASES[i].start, strlen(CASES[i].start)) != 0))
            fail_msg("%s: %s %s", CASES[i].why, err_name(e), buf_str(&jwk));
        if (e == ERR_OK) {
            size_t len;
            free(member(&jws, "signature", &len));
            assert_int_equal(len, CASES[i].signature_len);
        }
        buf_clear(&jwk);
        buf_clear(&jws);
        EVP_PKEY_free(other);
    }
}

static void test_signed_request(void **state)
{
    static const struct {
        const char *why, *kid, *payload, *head;
    } CASES[] = {
        { "newAccount shows the key", NULL, "{}",
          "{\"alg\":\"ES256\",\"jwk\":" JWK ",\"nonce\":\"n-1\",\"url\":\"https://a.example/x\"}" },
        { "all others name the account", "https://a.example/acct/1", "{\"csr\":\"MAA\"}",
          "{\"alg\":\"ES256\",\"kid\":\"https://a.example/acct/1\",\"nonce\":\"n-1\","
          "\"url\":\"https://a.example/x\"}" },
        { "POST-as-GET", "https://a.example/acct/1", "",
          "{\"alg\":\"ES256\",\"kid\":\"https://a.example/acct/1\",\"nonce\":\"n-1\","
          "\"url\":\"https://a.example/x\"}" },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct jws_header h = { "https://a.example/x", "n-1", CASES[i].kid };
        struct buf jws;
        size_t len;
        buf_init(&jws, 65536);
        assert_int_equal(jws_sign(&jws, key, &h, span_str(CASES[i].payload)), ERR_OK);
        char *head = member(&jws, "protected", &len), *payload = member(&jws, "payload", &len);
        if (strcmp(head, CASES[i].head) != 0 || strcmp(payload, CASES[i].payload) != 0 ||
            !verifies(&jws))
            fail_msg("%s: %s", CASES[i].why, buf_str(&jws));
        free(head);
        free(payload);
        buf_clear(&jws);
    }
}

/* r or s with leading zeros is still 32 bytes: one signature in 128 has one. */
static void test_many_signatures(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 300; i++) {
        struct buf jws;
        buf_init(&jws, 65536);
        assert_int_equal(
            jws_by_key(&jws, key, span_str("{}"), (struct span){ (uint8_t *)&i, sizeof i }),
            ERR_OK);
        assert_true(verifies(&jws));
        buf_clear(&jws);
    }
}

static void test_text_that_would_need_escaping(void **state)
{
    static const struct jws_header HEADERS[] = {
        { "https://a.example/\"", "n", NULL }, { "https://a.example/\\", "n", NULL },
        { "https://a.example/\n", "n", NULL }, { "", "n", NULL },
        { "https://a.example/", "", NULL },    { "https://a.example/", "n\"", NULL },
        { "https://a.example/", "n", "\"" },
    };
    struct buf jws;
    (void)state;
    buf_init(&jws, 65536);
    for (size_t i = 0; i < ARRAY_LEN(HEADERS); i++)
        assert_int_equal(jws_sign(&jws, key, &HEADERS[i], span_str("")), ERR_INVALID);
    assert_int_equal(jws.len, 0);
}

/* [RFC 7515 appendix A.1] */
static void test_hs256_vector(void **state)
{
    static const char KEY[] =
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    uint8_t mac_key[128];
    size_t len;
    struct buf jws;
    (void)state;
    buf_init(&jws, 4096);
    assert_int_equal(b64url_decode(span_str(KEY), mac_key, sizeof mac_key, &len), ERR_OK);
    assert_int_equal(jws_hs256(&jws, (struct span){ mac_key, len },
                               span_str("{\"typ\":\"JWT\",\r\n \"alg\":\"HS256\"}"),
                               span_str("{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n "
                                        "\"http://example.com/is_root\":true}")),
                     ERR_OK);
    assert_string_equal(buf_str(&jws),
                        "{\"protected\":\"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9\","
                        "\"payload\":\"eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9l"
                        "eGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ\","
                        "\"signature\":\"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk\"}");
    buf_clear(&jws);
}

static void test_binding(void **state)
{
    struct buf jws;
    size_t len;
    (void)state;
    buf_init(&jws, 4096);
    assert_int_equal(jws_bind(&jws, key, "https://a.example/new", "kid-1", span_str("secret")),
                     ERR_OK);
    char *head = member(&jws, "protected", &len), *payload = member(&jws, "payload", &len);
    assert_string_equal(head,
                        "{\"alg\":\"HS256\",\"kid\":\"kid-1\",\"url\":\"https://a.example/new\"}");
    assert_string_equal(payload, JWK);
    assert_null(strstr(buf_str(&jws), "secret"));
    free(head);
    free(payload);
    buf_clear(&jws);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jwk),
        cmocka_unit_test(test_other_keys),
        cmocka_unit_test(test_signed_request),
        cmocka_unit_test(test_many_signatures),
        cmocka_unit_test(test_text_that_would_need_escaping),
        cmocka_unit_test(test_hs256_vector),
        cmocka_unit_test(test_binding),
    };
    return cmocka_run_group_tests(tests, load_key, free_key);
}
