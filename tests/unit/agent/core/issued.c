/* Chains that may and that may not take the place of the present certificate; and the CSR. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include <openssl/x509v3.h>

#include "agent/core/csr.h"
#include "agent/core/issued.h"
#include "common/base/attr.h"
#include "common/pki/key.h"

#define NAME "*.abcdefghijklmnopqrstuvwxyz234567.direct.example"
#define NOW INT64_C(1800000000)
#define DAY INT64_C(86400)

static EVP_PKEY *ours, *other, *ca_key, *ca2_key;

static int set_up(void **state)
{
    (void)state;
    return key_new(&ours, KEY_P256) != ERR_OK || key_new(&other, KEY_P256) != ERR_OK ||
           key_new(&ca_key, KEY_P256) != ERR_OK || key_new(&ca2_key, KEY_P256) != ERR_OK;
}

static int tear_down(void **state)
{
    (void)state;
    EVP_PKEY_free(ours);
    EVP_PKEY_free(other);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(ca2_key);
    return 0;
}

static void add_ext(X509 *c, int nid, const char *value)
{
    if (value == NULL)
        return;
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    assert_non_null(ext);
    assert_int_equal(X509_add_ext(c, ext, -1), 1);
    X509_EXTENSION_free(ext);
}

static void set_name(X509_NAME *name, const char *cn)
{
    assert_int_equal(
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0),
        1);
}

/* What a leaf is made of; everything but the key has a good default in GOOD. */
struct leaf {
    const char *san, *eku, *basic;
    int64_t from_s, to_s;
    bool for_other, signed_by_other;
};

static const struct leaf GOOD = { .san = "DNS:" NAME,
                                  .eku = "serverAuth",
                                  .basic = "CA:FALSE",
                                  .from_s = NOW - DAY,
                                  .to_s = NOW + DAY };

static X509 *make_cert(const char *subject, const char *issuer, EVP_PKEY *key, EVP_PKEY *signer,
                       const struct leaf *l)
{
    X509 *c = X509_new();
    assert_non_null(c);
    X509_set_version(c, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(c), 7);
    set_name(X509_get_subject_name(c), subject);
    set_name(X509_get_issuer_name(c), issuer);
    ASN1_TIME_set(X509_getm_notBefore(c), (time_t)l->from_s);
    ASN1_TIME_set(X509_getm_notAfter(c), (time_t)l->to_s);
    X509_set_pubkey(c, key);
    add_ext(c, NID_subject_alt_name, l->san);
    add_ext(c, NID_ext_key_usage, l->eku);
    add_ext(c, NID_basic_constraints, l->basic);
    assert_true(X509_sign(c, signer, EVP_sha256()) > 0);
    return c;
}

/* Leaf and, with `n` 2, the CA above it. */
static STACK_OF(X509) * make_chain(const struct leaf *l, int n)
{
    static const struct leaf CA = { .basic = "CA:TRUE", .from_s = NOW - DAY, .to_s = NOW + DAY };
    STACK_OF(X509) *chain = sk_X509_new_null();
    sk_X509_push(chain, make_cert("leaf", "ca", l->for_other ? other : ours,
                                  l->signed_by_other ? ca2_key : ca_key, l));
    if (n > 1)
        sk_X509_push(chain, make_cert("ca", "root", ca_key, ca2_key, &CA));
    return chain;
}

static void test_leaf(void **state)
{
    (void)state;
    static const struct {
        const char *why;
        struct leaf leaf;
        int64_t now_s;
        bool good;
    } CASES[] = {
#define L(...)                                                                                     \
    { .san = "DNS:" NAME,                                                                          \
      .eku = "serverAuth",                                                                         \
      .basic = "CA:FALSE",                                                                         \
      .from_s = NOW - DAY,                                                                         \
      .to_s = NOW + DAY,                                                                           \
      __VA_ARGS__ }
        { "as it should be", L(.for_other = false), NOW, true },
        { "no EKU allows everything",
          { .san = "DNS:" NAME, .from_s = NOW - DAY, .to_s = NOW + DAY },
          NOW,
          true },
        { "case does not matter",
          { .san = "DNS:*.ABCdefghijklmnopqrstuvwxyz234567.Direct.Example",
            .from_s = NOW - DAY,
            .to_s = NOW + DAY },
          NOW,
          true },
        { "another key", L(.for_other = true), NOW, false },
        { "no name", { .from_s = NOW - DAY, .to_s = NOW + DAY }, NOW, false },
        { "another device's name",
          { .san = "DNS:*.bbcdefghijklmnopqrstuvwxyz234567.direct.example",
            .from_s = NOW - DAY,
            .to_s = NOW + DAY },
          NOW,
          false },
        { "one name more",
          { .san = "DNS:" NAME ",DNS:bank.example", .from_s = NOW - DAY, .to_s = NOW + DAY },
          NOW,
          false },
        { "the name as a mail address",
          { .san = "email:a@b.example", .from_s = NOW - DAY, .to_s = NOW + DAY },
          NOW,
          false },
        { "for clients only",
          { .san = "DNS:" NAME, .eku = "clientAuth", .from_s = NOW - DAY, .to_s = NOW + DAY },
          NOW,
          false },
        { "a CA",
          { .san = "DNS:" NAME, .basic = "CA:TRUE", .from_s = NOW - DAY, .to_s = NOW + DAY },
          NOW,
          false },
        { "expired", L(.for_other = false), NOW + DAY, false },
        { "for another key, and expired", L(.for_other = true), NOW + DAY, false },
        { "the last second", L(.for_other = false), NOW + DAY - 1, true },
        { "our clock is slow", L(.for_other = false), NOW - 30 * DAY, true },
        { "our clock is at 1970", L(.for_other = false), 0, true },
        { "ends before it starts",
          { .san = "DNS:" NAME, .from_s = NOW + DAY, .to_s = NOW - DAY },
          NOW - 30 * DAY,
          false },
#undef L
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct err_info info = { "" };
        STACK_OF(X509) *chain = make_chain(&CASES[i].leaf, 2);
        enum err e = issued_check(chain, ours, NAME, CASES[i].now_s, &info);
        enum err bad = strncmp(CASES[i].why, "expired", 7) == 0 ? ERR_RANGE : ERR_CRYPTO;
        if (e != (CASES[i].good ? ERR_OK : bad))
            fail_msg("%s: %s", CASES[i].why, info.text);
        assert_true(CASES[i].good || info.text[0] != 0);
        sk_X509_pop_free(chain, X509_free);
    }
}

static void test_links(void **state)
{
    (void)state;
    struct err_info info;
    struct leaf forged = GOOD;
    forged.signed_by_other = true; /* names "ca" as its issuer, with another signature */
    STACK_OF(X509) *chain = make_chain(&forged, 2);
    assert_int_equal(issued_check(chain, ours, NAME, NOW, &info), ERR_CRYPTO);
    sk_X509_pop_free(chain, X509_free);

    chain = make_chain(&GOOD, 1); /* the CA is in the browsers already */
    assert_int_equal(issued_check(chain, ours, NAME, NOW, &info), ERR_OK);
    /* its issuer by name and signature, but no CA */
    sk_X509_push(chain, make_cert("ca", "root", ca_key, ca2_key, &GOOD));
    assert_int_equal(issued_check(chain, ours, NAME, NOW, &info), ERR_CRYPTO);
    sk_X509_pop_free(chain, X509_free);

    chain = sk_X509_new_null();
    assert_int_equal(issued_check(chain, ours, NAME, NOW, &info), ERR_CRYPTO);
    sk_X509_pop_free(chain, X509_free);
}

static void test_csr(void **state)
{
    (void)state;
    static const enum key_type TYPES[] = { KEY_P256, KEY_RSA2048 };
    for (size_t i = 0; i < ARRAY_LEN(TYPES); i++) {
        EVP_PKEY *key = NULL;
        struct buf pem;
        buf_init(&pem, CSR_PEM_MAX);
        assert_int_equal(key_new(&key, TYPES[i]), ERR_OK);
        assert_int_equal(csr_new(&pem, key, NAME), ERR_OK);
        assert_int_equal(csr_check(buf_span(&pem), key, NAME), ERR_OK);
        assert_int_equal(csr_check(buf_span(&pem), ours, NAME), ERR_INVALID);
        assert_int_equal(csr_check(buf_span(&pem), key, "*.other.example"), ERR_INVALID);
        struct span cut = { pem.p, pem.len / 2 };
        assert_int_equal(csr_check(cut, key, NAME), ERR_INVALID);
        assert_int_equal(csr_check((struct span){ NULL, 0 }, key, NAME), ERR_INVALID);
        buf_clear(&pem);
        EVP_PKEY_free(key);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_leaf),
        cmocka_unit_test(test_links),
        cmocka_unit_test(test_csr),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
