#include "provisiond/core/csr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>

#define WILD "*.abcdefghijklmnopqrstuvwxyz234567.direct.example"
#define APEX "abcdefghijklmnopqrstuvwxyz234567.direct.example"
#define OTHER "*.zzcdefghijklmnopqrstuvwxyz234567.direct.example"

enum key_kind { P256, P384, P521, RSA2048, RSA1024, RSA_E3, RSA_FACTOR, ED25519, N_KINDS };

static EVP_PKEY *keys[N_KINDS];

/* The public key of modulus `n` and `exponent`: enough to be refused before its signature counts.
 */
static EVP_PKEY *rsa_public(const BIGNUM *n, unsigned exponent)
{
    EVP_PKEY *key = NULL;
    BIGNUM *e = BN_new();
    BN_set_word(e, exponent);
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, n);
    OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, e);
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    assert_true(EVP_PKEY_fromdata_init(ctx) == 1 &&
                EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) == 1);
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(bld);
    BN_free(e);
    return key;
}

/* Keys that differ from a good one in one thing each. */
static void make_weak_rsa(EVP_PKEY *good)
{
    BIGNUM *n = NULL;
    assert_int_equal(EVP_PKEY_get_bn_param(good, OSSL_PKEY_PARAM_RSA_N, &n), 1);
    keys[RSA_E3] = rsa_public(n, 3);
    BN_sub_word(n, BN_mod_word(n, 751)); /* the largest factor that is looked for */
    if (!BN_is_odd(n))
        BN_add_word(n, 751);
    keys[RSA_FACTOR] = rsa_public(n, 65537);
    BN_free(n);
}

static int make_keys(void **state)
{
    (void)state;
    keys[P256] = EVP_EC_gen("P-256");
    keys[P384] = EVP_EC_gen("P-384");
    keys[P521] = EVP_EC_gen("P-521");
    keys[RSA2048] = EVP_RSA_gen(2048);
    keys[RSA1024] = EVP_RSA_gen(1024);
    make_weak_rsa(keys[RSA2048]);
    keys[ED25519] = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    for (int i = 0; i < N_KINDS; i++)
        assert_non_null(keys[i]);
    return 0;
}

static int free_keys(void **state)
{
    (void)state;
    for (int i = 0; i < N_KINDS; i++)
        EVP_PKEY_free(keys[i]);
    return 0;
}

struct recipe {
    const char *san; /* OpenSSL's spelling; NULL: no such extension */
    const char *cn, *email;
    enum key_kind key;
    const EVP_MD *(*digest)(void); /* NULL: SHA-256 */
    bool must_staple, two_sans, two_lists, foreign_signature;
};

static void add_ext(STACK_OF(X509_EXTENSION) * exts, int nid, const char *value)
{
    X509_EXTENSION *ext = X509V3_EXT_nconf_nid(NULL, NULL, nid, value);
    assert_non_null(ext);
    sk_X509_EXTENSION_push(exts, ext);
}

static void add_subject(X509_REQ *req, const char *field, const char *value)
{
    if (value == NULL)
        return;
    assert_int_equal(X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(req), field,
                                                V_ASN1_UTF8STRING, (const unsigned char *)value,
                                                (int)strlen(value), -1, 0),
                     1);
}

static X509_REQ *cook(const struct recipe *r)
{
    X509_REQ *req = X509_REQ_new();
    STACK_OF(X509_EXTENSION) *exts = sk_X509_EXTENSION_new_null();
    bool can_sign = !r->foreign_signature && r->key != RSA_E3 && r->key != RSA_FACTOR;
    EVP_PKEY *signer = keys[can_sign ? r->key : P256], *other = EVP_EC_gen("P-256");
    const EVP_MD *digest = r->digest != NULL ? r->digest() : EVP_sha256();
    add_ext(exts, NID_key_usage, "digitalSignature"); /* ignored, as CAs do */
    if (r->san != NULL)
        add_ext(exts, NID_subject_alt_name, r->san);
    if (r->two_sans)
        add_ext(exts, NID_subject_alt_name, "DNS:www.example.com");
    if (r->must_staple)
        add_ext(exts, NID_tlsfeature, "status_request");
    assert_int_equal(X509_REQ_add_extensions(req, exts), 1);
    if (r->two_lists) /* OpenSSL makes no second one of the same type */
        assert_int_equal(X509_REQ_add_extensions_nid(req, exts, NID_ms_ext_req), 1);
    add_subject(req, "CN", r->cn);
    add_subject(req, "emailAddress", r->email);
    X509_REQ_set_pubkey(req, r->foreign_signature ? other : keys[r->key]);
    assert_true(X509_REQ_sign(req, signer, r->key == ED25519 ? NULL : digest) > 0);
    sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
    EVP_PKEY_free(other);
    return req;
}

static const struct {
    const char *why;
    struct recipe recipe;
    const char *problem; /* NULL: accepted */
    bool apex_refused;   /* the policy has no optional name */
} CASES[] = {
    { "the one name", { .san = "DNS:" WILD }, NULL, false },
    { "with the optional one", { .san = "DNS:" APEX ",DNS:" WILD }, NULL, false },
    { "the common name may repeat it", { .san = "DNS:" WILD, .cn = WILD }, NULL, false },
    { "an empty common name is none", { .san = "DNS:" WILD, .cn = "" }, NULL, false },
    { "P-384", { .san = "DNS:" WILD, .key = P384, .digest = EVP_sha384 }, NULL, false },
    { "RSA", { .san = "DNS:" WILD, .key = RSA2048 }, NULL, false },
    { "SHA-512", { .san = "DNS:" WILD, .digest = EVP_sha512 }, NULL, false },
    { "no name at all", { .san = NULL }, "csr-no-name", false },
    { "a common name does not count", { .cn = WILD }, "csr-no-name", false },
    { "the optional one alone", { .san = "DNS:" APEX }, "csr-no-name", false },
    { "another device's", { .san = "DNS:" OTHER }, "csr-foreign-name", false },
    { "another device's common name",
      { .san = "DNS:" WILD, .cn = OTHER },
      "csr-foreign-name",
      false },
    { "the optional one where it is not allowed",
      { .san = "DNS:" WILD ",DNS:" APEX },
      "csr-extra-name",
      true },
    { "one more", { .san = "DNS:" WILD ",DNS:www.example.com" }, "csr-extra-name", false },
    { "the same twice", { .san = "DNS:" WILD ",DNS:" WILD }, "csr-extra-name", false },
    { "upper case is another name",
      { .san = "DNS:*.ABCDEFGHIJKLMNOPQRSTUVWXYZ234567.direct.example" },
      "csr-foreign-name",
      false },
    { "below the wildcard", { .san = "DNS:a." APEX }, "csr-foreign-name", false },
    { "an address", { .san = "DNS:" WILD ",IP:192.168.1.5" }, "csr-extra-name", false },
    { "a mailbox", { .san = "DNS:" WILD ",email:a@b.example" }, "csr-extra-name", false },
    { "a URI", { .san = "DNS:" WILD ",URI:https://a.example" }, "csr-extra-name", false },
    { "a mailbox in the subject",
      { .san = "DNS:" WILD, .email = "a@b.example" },
      "csr-extra-name",
      false },
    { "which list would the CA read?",
      { .san = "DNS:" WILD, .two_sans = true },
      "csr-malformed",
      false },
    { "and here?", { .san = "DNS:" WILD, .two_lists = true }, "csr-malformed", false },
    { "CAs refuse it", { .san = "DNS:" WILD, .must_staple = true }, "csr-must-staple", false },
    { "1024 bits", { .san = "DNS:" WILD, .key = RSA1024 }, "csr-weak-key", false },
    { "exponent 3", { .san = "DNS:" WILD, .key = RSA_E3 }, "csr-weak-key", false },
    { "a small factor", { .san = "DNS:" WILD, .key = RSA_FACTOR }, "csr-weak-key", false },
    { "P-521: browsers differ", { .san = "DNS:" WILD, .key = P521 }, "csr-weak-key", false },
    { "Ed25519: no CA takes it", { .san = "DNS:" WILD, .key = ED25519 }, "csr-weak-key", false },
    { "SHA-1", { .san = "DNS:" WILD, .digest = EVP_sha1 }, "csr-bad-signature", false },
    { "no proof of the key",
      { .san = "DNS:" WILD, .foreign_signature = true },
      "csr-bad-signature",
      false },
};

static enum err check_bytes(const void *p, size_t len, bool no_apex, struct csr_facts *out,
                            const char **problem)
{
    struct csr_policy policy = { .name_required = WILD, .name_optional = no_apex ? NULL : APEX };
    struct err_info info = { "" };
    enum err e = csr_check(&policy, (struct span){ p, len }, out, problem, &info);
    assert_true((e == ERR_OK) == (*problem == NULL));
    assert_true((e == ERR_OK) == (info.text[0] == 0));
    return e;
}

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct csr_facts facts;
        const char *problem = "untouched";
        unsigned char *der = NULL;
        X509_REQ *req = cook(&CASES[i].recipe);
        int n = i2d_X509_REQ(req, &der);
        enum err e = check_bytes(der, (size_t)n, CASES[i].apex_refused, &facts, &problem);
        if (CASES[i].problem == NULL ? e != ERR_OK
                                     : problem == NULL || strcmp(problem, CASES[i].problem) != 0)
            fail_msg("%s: %s", CASES[i].why, problem != NULL ? problem : "accepted");
        if (e == ERR_OK) {
            assert_int_equal(facts.der.len, n);
            assert_memory_equal(facts.der.p, der, (size_t)n);
            buf_clear(&facts.der);
        }
        OPENSSL_free(der);
        X509_REQ_free(req);
    }
}

/* PEM of a good request, NUL-terminated, in `out`; its length. */
static size_t good_pem(char *out, size_t cap)
{
    struct recipe r = { .san = "DNS:" WILD ",DNS:" APEX };
    X509_REQ *req = cook(&r);
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509_REQ(bio, req);
    int n = BIO_read(bio, out, (int)cap - 1);
    assert_true(n > 0 && (size_t)n < cap - 1);
    out[n] = 0;
    BIO_free(bio);
    X509_REQ_free(req);
    return (size_t)n;
}

static const struct {
    const char *why, *before;
    int copies; /* of a good request */
    const char *after;
    bool ok;
} FORMS[] = {
    { "space after it", "", 1, "\r\n \t\n", true },
    { "text before it", "Certificate Request:\n", 1, "", false },
    { "text after it", "", 1, "junk", false },
    { "a control byte after it", "", 1, "\n\x01", false },
    { "twice", "", 2, "", false },
    { "nothing", "", 0, "", false },
    { "an empty block", "-----BEGIN CERTIFICATE REQUEST-----\n", 0,
      "-----END CERTIFICATE REQUEST-----\n", false },
    { "another kind of block", "-----BEGIN CERTIFICATE-----\nMAA=\n", 0,
      "-----END CERTIFICATE-----\n", false },
    { "encrypted, which must not ask for a password",
      "-----BEGIN CERTIFICATE REQUEST-----\nProc-Type: 4,ENCRYPTED\n"
      "DEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\nMAA=\n",
      0, "-----END CERTIFICATE REQUEST-----\n", false },
};

static void test_pem(void **state)
{
    char pem[2048], text[8192];
    struct csr_facts facts;
    const char *problem;
    (void)state;
    size_t n = good_pem(pem, sizeof pem);
    assert_int_equal(check_bytes(pem, n, false, &facts, &problem), ERR_OK);
    assert_true(facts.has_optional);
    uint8_t hash[32];
    SHA256(facts.der.p, facts.der.len, hash);
    assert_memory_equal(hash, facts.der_sha256, 32);
    buf_clear(&facts.der);

    for (size_t i = 0; i < ARRAY_LEN(FORMS); i++) {
        int len =
            snprintf(text, sizeof text, "%s%s%s%s", FORMS[i].before, FORMS[i].copies > 0 ? pem : "",
                     FORMS[i].copies > 1 ? pem : "", FORMS[i].after);
        enum err e = check_bytes(text, (size_t)len, false, &facts, &problem);
        if ((e == ERR_OK) != FORMS[i].ok)
            fail_msg("%s: %s", FORMS[i].why, err_name(e));
        if (e == ERR_OK)
            buf_clear(&facts.der);
        else
            assert_string_equal(problem, "csr-malformed");
    }
}

static void test_size_and_damage(void **state)
{
    static uint8_t junk[1 << 20];
    char pem[2048];
    struct csr_facts facts;
    const char *problem;
    (void)state;
    memset(junk, 'A', sizeof junk);
    assert_int_equal(check_bytes(junk, sizeof junk, false, &facts, &problem), ERR_LIMIT);
    assert_string_equal(problem, "csr-too-large");
    assert_int_equal(check_bytes(junk, CSR_MAX, false, &facts, &problem), ERR_INVALID);

    /* no damaged byte of the DER is accepted as the same request */
    size_t n = good_pem(pem, sizeof pem);
    assert_int_equal(check_bytes(pem, n, false, &facts, &problem), ERR_OK);
    struct csr_facts damaged;
    for (size_t i = 0; i < facts.der.len; i++) {
        facts.der.p[i] ^= 1;
        assert_int_not_equal(check_bytes(facts.der.p, facts.der.len, false, &damaged, &problem),
                             ERR_OK);
        facts.der.p[i] ^= 1;
    }
    for (size_t len = 0; len < facts.der.len; len++)
        assert_int_not_equal(check_bytes(facts.der.p, len, false, &damaged, &problem), ERR_OK);
    buf_add(&facts.der, "", 1);
    assert_int_not_equal(check_bytes(facts.der.p, facts.der.len, false, &damaged, &problem),
                         ERR_OK);
    buf_clear(&facts.der);
}

static void test_identity_key(void **state)
{
    struct recipe r = { .san = "DNS:" WILD };
    struct csr_facts facts;
    const char *problem;
    unsigned char *der = NULL;
    uint8_t identity[SPKI_HASH_LEN];
    (void)state;
    X509_REQ *req = cook(&r);
    int n = i2d_X509_REQ(req, &der);
    struct csr_policy policy = { .name_required = WILD, .identity_spki_sha256 = identity };
    assert_int_equal(devid_spki_hash(identity, keys[P384]), ERR_OK);
    assert_int_equal(csr_check(&policy, (struct span){ der, (size_t)n }, &facts, &problem, NULL),
                     ERR_OK);
    buf_clear(&facts.der);
    assert_int_equal(devid_spki_hash(identity, keys[P256]), ERR_OK);
    assert_int_equal(csr_check(&policy, (struct span){ der, (size_t)n }, &facts, &problem, NULL),
                     ERR_RANGE);
    assert_string_equal(problem, "csr-identity-key");
    assert_memory_equal(facts.spki_sha256, identity, SPKI_HASH_LEN);
    OPENSSL_free(der);
    X509_REQ_free(req);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_pem),
        cmocka_unit_test(test_size_and_damage),
        cmocka_unit_test(test_identity_key),
    };
    return cmocka_run_group_tests(tests, make_keys, free_keys);
}
