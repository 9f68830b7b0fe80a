/* What a factory key signs, and what is refused. Chains of bad shapes are in the tests of the
 * daemon. */
#include "provisiond/core/factory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/x509v3.h>

#include "common/pki/cert.h"

#define ZONE "direct.example"
#define NOW 1800000000

static X509 *make_cert(EVP_PKEY *key, const char *cn, X509 *issuer, EVP_PKEY *issuer_key, bool ca)
{
    X509 *c = X509_new();
    X509_NAME *name = X509_get_subject_name(c);
    X509_EXTENSION *ext = X509V3_EXT_nconf_nid(NULL, NULL, NID_basic_constraints,
                                               ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
    X509_set_version(c, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(c), 17);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0);
    X509_set_issuer_name(c, issuer != NULL ? X509_get_subject_name(issuer) : name);
    ASN1_TIME_set(X509_getm_notBefore(c), NOW - 10);
    ASN1_TIME_set(X509_getm_notAfter(c), NOW + 10);
    X509_set_pubkey(c, key);
    X509_add_ext(c, ext, -1);
    X509_EXTENSION_free(ext);
    assert_true(X509_sign(c, issuer_key, EVP_sha256()) > 0);
    return c;
}

struct fixture {
    EVP_PKEY *ca_key, *factory_key, *identity, *other;
    X509 *ca, *leaf, *over_identity;
    struct factory *factory;
    uint8_t identity_hash[SPKI_HASH_LEN];
};

static int setup(void **state)
{
    static struct fixture fx;
    struct buf pem;
    EVP_PKEY **keys[] = { &fx.ca_key, &fx.factory_key, &fx.identity, &fx.other };
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        *keys[i] = EVP_EC_gen("P-256");
    fx.ca = make_cert(fx.ca_key, "factory", NULL, fx.ca_key, true);
    fx.leaf = make_cert(fx.factory_key, "SN 1", fx.ca, fx.ca_key, false);
    fx.over_identity = make_cert(fx.identity, "SN 2", fx.ca, fx.ca_key, false);
    buf_init(&pem, CERT_PEM_MAX);
    enum err e = cert_to_pem(fx.ca, &pem);
    if (e == ERR_OK)
        e = factory_new(&fx.factory, buf_span(&pem), NULL);
    if (e == ERR_OK)
        e = devid_spki_hash(fx.identity_hash, fx.identity);
    buf_clear(&pem);
    *state = &fx;
    return e == ERR_OK ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *fx = *state;
    factory_free(fx->factory);
    X509_free(fx->ca);
    X509_free(fx->leaf);
    X509_free(fx->over_identity);
    EVP_PKEY_free(fx->ca_key);
    EVP_PKEY_free(fx->factory_key);
    EVP_PKEY_free(fx->identity);
    EVP_PKEY_free(fx->other);
    return 0;
}

static size_t sign(EVP_PKEY *key, const char *text, uint8_t *out, size_t cap)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t len = cap;
    assert_int_equal(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key), 1);
    assert_int_equal(EVP_DigestSign(ctx, out, &len, (const uint8_t *)text, strlen(text)), 1);
    EVP_MD_CTX_free(ctx);
    return len;
}

static enum err check(struct fixture *fx, X509 *leaf, struct span proof, int64_t now_s)
{
    uint8_t hash[SPKI_HASH_LEN], want[SPKI_HASH_LEN];
    char serial[FACTORY_SERIAL_MAX];
    struct err_info info = { "" };
    STACK_OF(X509) *chain = sk_X509_new_null();
    sk_X509_push(chain, leaf);
    struct factory_claim c = { chain, fx->identity, fx->identity_hash, ZONE, proof, now_s };
    enum err e = factory_check(fx->factory, &c, hash, serial, &info);
    sk_X509_free(chain);
    if (e == ERR_OK) {
        assert_int_equal(devid_spki_hash(want, X509_get0_pubkey(leaf)), ERR_OK);
        assert_memory_equal(hash, want, sizeof want);
        assert_string_equal(serial, "11");
    } else {
        assert_string_not_equal(info.text, "");
    }
    return e;
}

static void proofs(void **state)
{
    struct fixture *fx = *state;
    char good[256] = "lanyard-factory-v1 " ZONE " ", other_zone[256];
    for (size_t i = 0; i < SPKI_HASH_LEN; i++)
        (void)snprintf(good + strlen(good), 3, "%02x", fx->identity_hash[i]);
    (void)snprintf(other_zone, sizeof other_zone, "lanyard-factory-v1 other.example%s",
                   strrchr(good, ' '));
    char *cut = strdup(good), *newline = NULL;
    cut[strlen(cut) - 1] = 0;
    assert_true(asprintf(&newline, "%s\n", good) > 0);
    struct {
        const char *why, *text;
        EVP_PKEY *key;
        enum err want;
    } cases[] = {
        { "as it should be", good, fx->factory_key, ERR_OK },
        { "another zone's", other_zone, fx->factory_key, ERR_DENIED },
        { "another identity's", cut, fx->factory_key, ERR_DENIED },
        { "with an end of line", newline, fx->factory_key, ERR_DENIED },
        { "by another key", good, fx->other, ERR_DENIED },
        { "by the identity key", good, fx->identity, ERR_DENIED },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t proof[256];
        size_t len = sign(cases[i].key, cases[i].text, proof, sizeof proof);
        if (check(fx, fx->leaf, (struct span){ proof, len }, NOW) != cases[i].want)
            fail_msg("%s", cases[i].why);
    }
    assert_int_equal(check(fx, fx->leaf, (struct span){ NULL, 0 }, NOW), ERR_DENIED);
    free(cut);
    free(newline);
}

static void the_connection_is_proof_enough(void **state)
{
    struct fixture *fx = *state;
    struct span none = { NULL, 0 };
    assert_int_equal(check(fx, fx->over_identity, none, NOW), ERR_OK);
    assert_int_equal(check(fx, fx->over_identity, none, NOW + 11), ERR_DENIED);
    assert_int_equal(check(fx, fx->over_identity, none, NOW - 11), ERR_DENIED);
    X509 *ca = make_cert(fx->identity, "SN 3", fx->ca, fx->ca_key, true);
    X509 *self = make_cert(fx->identity, "SN 4", NULL, fx->identity, false);
    assert_int_equal(check(fx, ca, none, NOW), ERR_DENIED);
    assert_int_equal(check(fx, self, none, NOW), ERR_DENIED);
    X509_free(ca);
    X509_free(self);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(proofs, setup, teardown),
        cmocka_unit_test_setup_teardown(the_connection_is_proof_enough, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
