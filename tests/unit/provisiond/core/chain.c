#include "provisiond/core/chain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include <openssl/x509v3.h>

#include "common/pki/cert.h"

#define NOW INT64_C(1795000000)
#define DAY 86400
#define WILD "*.abc.direct.example"
#define APEX "abc.direct.example"

enum who { ROOT, MIDDLE, LEAF, STRANGER, N_WHO };

static EVP_PKEY *keys[N_WHO];

static int make_keys(void **state)
{
    (void)state;
    for (int i = 0; i < N_WHO; i++)
        assert_non_null(keys[i] = EVP_EC_gen("P-256"));
    return 0;
}

static struct chain_above above; /* kept from one test to the next, as between orders */

static int free_keys(void **state)
{
    (void)state;
    chain_above_clear(&above);
    for (int i = 0; i < N_WHO; i++)
        EVP_PKEY_free(keys[i]);
    return 0;
}

/* A chain with one thing wrong; what is 0 is right. */
struct recipe {
    const char *san, *eku;
    enum who leaf_key, middle_signer; /* 0: LEAF, ROOT */
    int64_t from_s, to_s;             /* of the leaf, from NOW; both 0: -300, 6 days */
    int64_t middle_to_s;              /* from NOW; 0: a year */
    bool leaf_is_ca, middle_is_no_ca;
    const char *order; /* "l", "m", "r", and "s" for a stranger's root; NULL: "lm" */
};

struct made {
    const char *subject, *issuer;
    EVP_PKEY *key, *signer;
    int64_t from_s, to_s;
    bool is_ca;
    const char *san, *eku;
};

static void add_ext(X509 *cert, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_nconf_nid(NULL, &ctx, nid, value);
    assert_non_null(ext);
    X509_add_ext(cert, ext, -1);
    X509_EXTENSION_free(ext);
}

static void set_name(X509_NAME *name, const char *cn)
{
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0);
}

static void make(struct buf *pem, const struct made *m)
{
    X509 *cert = X509_new();
    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 0x1234);
    ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)m->from_s);
    ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)m->to_s);
    set_name(X509_get_subject_name(cert), m->subject);
    set_name(X509_get_issuer_name(cert), m->issuer);
    X509_set_pubkey(cert, m->key);
    add_ext(cert, NID_basic_constraints, m->is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
    if (m->san != NULL && m->san[0] != 0)
        add_ext(cert, NID_subject_alt_name, m->san);
    if (m->eku != NULL)
        add_ext(cert, NID_ext_key_usage, m->eku);
    assert_true(X509_sign(cert, m->signer, EVP_sha256()) > 0);
    assert_int_equal(cert_to_pem(cert, pem), ERR_OK);
    X509_free(cert);
}

static void make_one(struct buf *pem, const struct recipe *r, char which)
{
    struct made m = { .from_s = NOW - DAY, .to_s = NOW + 365 * DAY, .is_ca = true };
    bool dated = r->from_s != 0 || r->to_s != 0;
    switch (which) {
    case 'r':
        m.subject = m.issuer = "root";
        m.key = m.signer = keys[ROOT];
        break;
    case 's':
        m.subject = m.issuer = "stranger";
        m.key = m.signer = keys[STRANGER];
        break;
    case 'm':
        m.subject = "middle";
        m.issuer = "root";
        m.key = keys[MIDDLE];
        m.signer = keys[r->middle_signer != 0 ? r->middle_signer : ROOT];
        m.to_s = r->middle_to_s != 0 ? NOW + r->middle_to_s : m.to_s;
        m.is_ca = !r->middle_is_no_ca;
        break;
    default:
        m.subject = "leaf";
        m.issuer = "middle";
        m.key = keys[r->leaf_key != 0 ? r->leaf_key : LEAF];
        m.signer = keys[MIDDLE];
        m.from_s = NOW + (dated ? r->from_s : -300);
        m.to_s = NOW + (dated ? r->to_s : 6 * DAY);
        m.is_ca = r->leaf_is_ca;
        m.san = r->san != NULL ? r->san : "DNS:" WILD;
        m.eku = r->eku;
    }
    make(pem, &m);
}

static const struct {
    const char *why;
    struct recipe recipe;
    enum err want;
    bool with_apex; /* two names were asked for */
} CASES[] = {
    { "right", { .order = "lm" }, ERR_OK, false },
    { "with its root", { .order = "lmr" }, ERR_OK, false },
    { "a CA without intermediates", { .order = "l" }, ERR_OK, false },
    { "two names, in any order", { .san = "DNS:" APEX ",DNS:" WILD }, ERR_OK, true },
    { "case does not matter in DNS", { .san = "DNS:*.ABC.direct.example" }, ERR_OK, false },
    { "for TLS servers", { .eku = "serverAuth,clientAuth" }, ERR_OK, false },
    { "a CA's clock is 59 minutes ahead", { .from_s = 3540, .to_s = DAY }, ERR_OK, false },
    { "a test CA's two minutes", { .from_s = 0, .to_s = 120 }, ERR_OK, false },
    { "another key", { .leaf_key = STRANGER }, ERR_CRYPTO, false },
    { "another name", { .san = "DNS:*.xyz.direct.example" }, ERR_RANGE, false },
    { "one name more", { .san = "DNS:" WILD ",DNS:" APEX }, ERR_RANGE, false },
    { "one name less", { .san = "DNS:" WILD }, ERR_RANGE, true },
    { "one name twice", { .san = "DNS:" WILD ",DNS:" WILD }, ERR_RANGE, true },
    { "an address for a name", { .san = "DNS:" WILD ",IP:10.0.0.1" }, ERR_RANGE, true },
    { "no names", { .san = "" }, ERR_RANGE, false },
    { "not yet valid", { .from_s = 3700, .to_s = DAY }, ERR_RANGE, false },
    { "expired", { .from_s = -DAY, .to_s = 0 }, ERR_RANGE, false },
    { "too short a life", { .from_s = 0, .to_s = 59 }, ERR_RANGE, false },
    { "ends before it starts", { .from_s = 100, .to_s = 50 }, ERR_RANGE, false },
    { "a CA certificate", { .leaf_is_ca = true }, ERR_RANGE, false },
    { "for clients only", { .eku = "clientAuth" }, ERR_RANGE, false },
    { "wrong order", { .order = "lrm" }, ERR_CRYPTO, false },
    { "a link is missing", { .order = "lr" }, ERR_CRYPTO, false },
    { "a stranger at the end", { .order = "lms" }, ERR_CRYPTO, false },
    { "a stranger in the middle", { .order = "lsm" }, ERR_CRYPTO, false },
    { "the leaf twice", { .order = "llm" }, ERR_CRYPTO, false },
    { "root first", { .order = "rml" }, ERR_CRYPTO, false },
    { "a forged intermediate", { .order = "lmr", .middle_signer = STRANGER }, ERR_CRYPTO, false },
    { "the issuer is no CA", { .middle_is_no_ca = true }, ERR_CRYPTO, false },
    { "the issuer has expired", { .middle_to_s = -60 }, ERR_RANGE, false },
    { "more than anybody needs", { .order = "lmrrrrrrr" }, ERR_LIMIT, false },
};

static enum err check(struct span pem, bool with_apex, struct chain_facts *out,
                      struct err_info *info)
{
    static const char *const NAMES[] = { WILD, APEX };
    uint8_t hash[SPKI_HASH_LEN];
    assert_int_equal(devid_spki_hash(hash, keys[LEAF]), ERR_OK);
    struct chain_expect expect = { .spki_sha256 = hash,
                                   .names = NAMES,
                                   .n_names = with_apex ? 2 : 1,
                                   .now_s = NOW,
                                   .above = &above };
    return chain_check(pem, &expect, out, info);
}

static void check_case(size_t i)
{
    struct buf pem;
    struct chain_facts facts;
    struct err_info info = { "" };
    const char *order = CASES[i].recipe.order != NULL ? CASES[i].recipe.order : "lm";
    buf_init(&pem, CERT_PEM_MAX);
    for (const char *p = order; *p != 0; p++)
        make_one(&pem, &CASES[i].recipe, *p);
    for (int round = 0; round < 2; round++) { /* read, then remembered */
        enum err e = check(buf_span(&pem), CASES[i].with_apex, &facts, &info);
        if (e != CASES[i].want || (e != ERR_OK && info.text[0] == 0))
            fail_msg("%s, round %d: %s: %s", CASES[i].why, round, err_name(e), info.text);
        if (e == ERR_OK) {
            assert_string_equal(buf_str(&facts.pem), buf_str(&pem));
            assert_int_equal(facts.n_certs, strlen(order));
            assert_string_equal(facts.serial, "1234");
            assert_string_equal(facts.ari_id, ""); /* none of them names its issuer's key */
            buf_clear(&facts.pem);
        }
    }
    buf_clear(&pem);
}

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++)
        check_case(i);
}

static void test_no_chain(void **state)
{
    static const struct {
        const char *why, *text;
    } TEXTS[] = {
        { "nothing", "" },
        { "an error page", "<html>502</html>" },
        { "cut off", "-----BEGIN CERTIFICATE-----\nMIIB" },
        { "not a certificate", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n" },
    };
    struct chain_facts facts;
    struct err_info info;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(TEXTS); i++)
        if (check(span_str(TEXTS[i].text), false, &facts, &info) != ERR_INVALID)
            fail_msg("%s", TEXTS[i].why);
}

/* Only certificates are handed on, whatever else the CA put between them. */
static void test_rewritten(void **state)
{
    struct buf pem;
    struct recipe r = { .san = NULL };
    struct chain_facts facts;
    struct err_info info;
    (void)state;
    buf_init(&pem, CERT_PEM_MAX);
    buf_add_str(&pem, "subject=leaf\r\n");
    make_one(&pem, &r, 'l');
    make_one(&pem, &r, 'm');
    buf_add_str(&pem, "Mallory was here\n");
    assert_int_equal(check(buf_span(&pem), false, &facts, &info), ERR_OK);
    assert_int_equal(facts.not_before_s, NOW - 300);
    assert_int_equal(facts.not_after_s, NOW + 6 * DAY);
    assert_null(strstr(buf_str(&facts.pem), "Mallory"));
    assert_int_equal(strncmp(buf_str(&facts.pem), "-----BEGIN", 10), 0);
    buf_clear(&facts.pem);
    buf_clear(&pem);
}

/* The certificate of RFC 9773 appendix A, with our key and names: only its serial number and
 * authority key identifier count. */
static void test_ari_id(void **state)
{
    static const uint8_t AKI[] = { 0x69, 0x88, 0x5b, 0x6b, 0x87, 0x46, 0x40, 0x41, 0xe1, 0xb3,
                                   0x7b, 0x84, 0x7b, 0xa0, 0xae, 0x2c, 0xde, 0x01, 0xc8, 0xd4 };
    struct buf pem;
    struct chain_facts facts;
    struct err_info info;
    (void)state;
    X509 *cert = X509_new();
    AUTHORITY_KEYID *aki = AUTHORITY_KEYID_new();
    aki->keyid = ASN1_OCTET_STRING_new();
    ASN1_OCTET_STRING_set(aki->keyid, AKI, sizeof AKI);
    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), 0x87654321);
    ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)NOW);
    ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)NOW + DAY);
    set_name(X509_get_issuer_name(cert), "middle");
    X509_set_pubkey(cert, keys[LEAF]);
    add_ext(cert, NID_subject_alt_name, "DNS:" WILD);
    X509_add1_ext_i2d(cert, NID_authority_key_identifier, aki, 0, 0);
    assert_true(X509_sign(cert, keys[MIDDLE], EVP_sha256()) > 0);
    buf_init(&pem, CERT_PEM_MAX);
    assert_int_equal(cert_to_pem(cert, &pem), ERR_OK);
    assert_int_equal(check(buf_span(&pem), false, &facts, &info), ERR_OK);
    assert_string_equal(facts.ari_id, "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE");
    assert_string_equal(facts.serial, "87654321");
    buf_clear(&facts.pem);
    buf_clear(&pem);
    AUTHORITY_KEYID_free(aki);
    X509_free(cert);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_no_chain),
        cmocka_unit_test(test_rewritten),
        cmocka_unit_test(test_ari_id),
    };
    return cmocka_run_group_tests(tests, make_keys, free_keys);
}
