#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/sha.h>
#include <openssl/x509.h>

#include "common/pki/devid.h"

/* The public key of RFC 6979 A.2.5, uncompressed. */
static const unsigned char POINT[65] = {
    0x04, 0x60, 0xFE, 0xD4, 0xBA, 0x25, 0x5A, 0x9D, 0x31, 0xC9, 0x61, 0xEB, 0x74,
    0xC6, 0x35, 0x6D, 0x68, 0xC0, 0x49, 0xB8, 0x92, 0x3B, 0x61, 0xFA, 0x6C, 0xE6,
    0x69, 0x62, 0x2E, 0x60, 0xF2, 0x9F, 0xB6, 0x79, 0x03, 0xFE, 0x10, 0x08, 0xB8,
    0xBC, 0x99, 0xA4, 0x1A, 0xE9, 0xE9, 0x56, 0x28, 0xBC, 0x64, 0xF2, 0xF1, 0xB2,
    0x0C, 0x2D, 0x7E, 0x9F, 0x51, 0x77, 0xA3, 0xC2, 0x94, 0xD4, 0x46, 0x22, 0x99,
};

static void test_vector(void **state)
{
    EVP_PKEY *key = NULL;
    struct devid id;
    unsigned char point[sizeof POINT];
    char group[] = "P-256";
    (void)state;
    memcpy(point, POINT, sizeof POINT);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
    assert_int_equal(EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params), 1);
    assert_int_equal(devid_from_key(&id, key), ERR_OK);
    assert_string_equal(id.text, "lj5hrtfeud2cbwn4mk5wnhb4e5m6hh3s");
    assert_true(devid_is_valid(span_str(id.text)));
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
}

/* What OpenSSL's encoder makes of the key is what is hashed. */
static void test_hash_is_of_the_encoded_key(void **state)
{
    static const struct {
        const char *why, *type, *group;
        int n;
    } CASES[] = {
        { "P-256, coordinates of every first byte", "EC", "P-256", 300 },
        { "P-384", "EC", "P-384", 2 },
        { "Ed25519", "ED25519", NULL, 2 },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        for (int k = 0; k < CASES[i].n; k++) {
            EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, CASES[i].type, CASES[i].group);
            uint8_t want[SPKI_HASH_LEN], got[SPKI_HASH_LEN];
            unsigned char *der = NULL;
            X509_PUBKEY *pubkey = NULL;
            assert_non_null(key);
            int len = i2d_PUBKEY(key, &der);
            assert_true(len > 0);
            SHA256(der, (size_t)len, want);
            assert_int_equal(devid_spki_hash(got, key), ERR_OK);
            if (memcmp(got, want, sizeof want) != 0)
                fail_msg("%s", CASES[i].why);
            assert_true(X509_PUBKEY_set(&pubkey, key));
            memset(got, 0, sizeof got);
            assert_int_equal(devid_pubkey_hash(got, pubkey), ERR_OK);
            if (memcmp(got, want, sizeof want) != 0)
                fail_msg("%s, as a certificate has it", CASES[i].why);
            X509_PUBKEY_free(pubkey);
            OPENSSL_free(der);
            EVP_PKEY_free(key);
        }
    }
}

/* A device has one id, however its certificate spells the key. */
static void test_hash_of_an_unusual_form(void **state)
{
    static const unsigned char COMPRESSED[] = {
        /* the key of the vector; its y is odd */
        0x30, 0x39, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
        0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x22, 0x00, 0x03
    };
    unsigned char der[sizeof COMPRESSED + 32];
    const unsigned char *p = der;
    uint8_t hash[SPKI_HASH_LEN];
    struct devid id;
    (void)state;
    memcpy(der, COMPRESSED, sizeof COMPRESSED);
    memcpy(der + sizeof COMPRESSED, POINT + 1, 32);
    X509_PUBKEY *pubkey = d2i_X509_PUBKEY(NULL, &p, sizeof der);
    assert_non_null(pubkey);
    assert_int_equal(devid_pubkey_hash(hash, pubkey), ERR_OK);
    devid_from_hash(&id, hash);
    assert_string_equal(id.text, "lj5hrtfeud2cbwn4mk5wnhb4e5m6hh3s");
    der[sizeof COMPRESSED] ^= 1; /* another x: on the curve or not */
    p = der;
    X509_PUBKEY *other = d2i_X509_PUBKEY(NULL, &p, sizeof der);
    if (other != NULL && devid_pubkey_hash(hash, other) == ERR_OK) {
        devid_from_hash(&id, hash);
        assert_string_not_equal(id.text, "lj5hrtfeud2cbwn4mk5wnhb4e5m6hh3s");
    }
    X509_PUBKEY_free(other);
    X509_PUBKEY_free(pubkey);
}

static void test_valid(void **state)
{
    static const struct {
        const char *why, *text;
        bool want;
    } CASES[] = {
        { "all letters", "abcdefghijklmnopqrstuvwxyz234567", true },
        { "upper case", "Abcdefghijklmnopqrstuvwxyz234567", false },
        { "a 1", "1bcdefghijklmnopqrstuvwxyz234567", false },
        { "an 8", "8bcdefghijklmnopqrstuvwxyz234567", false },
        { "31", "abcdefghijklmnopqrstuvwxyz23456", false },
        { "33", "abcdefghijklmnopqrstuvwxyz2345677", false },
        { "empty", "", false },
        { "a dot", "abcdefghijklmnopqrstuvwxyz23456.", false },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        if (devid_is_valid(span_str(CASES[i].text)) != CASES[i].want)
            fail_msg("%s", CASES[i].why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_vector),
                                        cmocka_unit_test(test_hash_is_of_the_encoded_key),
                                        cmocka_unit_test(test_hash_of_an_unusual_form),
                                        cmocka_unit_test(test_valid) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
