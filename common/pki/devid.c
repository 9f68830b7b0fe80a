#include "common/pki/devid.h"

#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/params.h>
#include <openssl/sha.h>
#include <openssl/x509.h>

#include "common/base/base32.h"

#define P256_LEN 32 /* bytes of a coordinate */

/* SubjectPublicKeyInfo of a P-256 key up to the point: id-ecPublicKey, prime256v1, BIT STRING,
 * "uncompressed". [RFC 5480 s2] */
static const uint8_t P256_HEAD[] = { 0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48,
                                     0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
                                     0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04 };

/* Both at once: each time it is asked OpenSSL inverts a field element to make the point affine. */
static bool get_point(EVP_PKEY *key, uint8_t out[2 * P256_LEN])
{
    unsigned char x[P256_LEN], y[P256_LEN]; /* in the machine's byte order */
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_EC_PUB_X, x, sizeof x),
        OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_EC_PUB_Y, y, sizeof y),
        OSSL_PARAM_construct_end(),
    };
    BIGNUM *n = NULL;
    bool ok = EVP_PKEY_get_params(key, params) == 1;
    for (size_t i = 0; i < 2 && ok; i++)
        ok = OSSL_PARAM_get_BN(&params[i], &n) == 1 &&
             BN_bn2binpad(n, out + i * P256_LEN, P256_LEN) == P256_LEN;
    BN_free(n);
    return ok;
}

/* The kind of key that every device has, without OpenSSL's encoder, which looks for a provider each
 * time: a tenth of the CPU of a certificate. False for any other key. */
static bool hash_p256(uint8_t out[SPKI_HASH_LEN], EVP_PKEY *key)
{
    char group[32] = "";
    uint8_t der[sizeof P256_HEAD + 2 * P256_LEN];
    size_t len;
    if (!EVP_PKEY_is_a(key, "EC") || EVP_PKEY_get_group_name(key, group, sizeof group, &len) != 1 ||
        strcmp(group, "prime256v1") != 0)
        return false;
    memcpy(der, P256_HEAD, sizeof P256_HEAD);
    if (!get_point(key, der + sizeof P256_HEAD))
        return false;
    SHA256(der, sizeof der, out);
    return true;
}

enum err devid_spki_hash(uint8_t out[SPKI_HASH_LEN], EVP_PKEY *key)
{
    if (hash_p256(out, key))
        return ERR_OK;
    unsigned char *der = NULL;
    int n = i2d_PUBKEY(key, &der);
    if (n <= 0)
        return ERR_CRYPTO;
    SHA256(der, (size_t)n, out);
    OPENSSL_free(der);
    return ERR_OK;
}

/* Whether it is P-256 by name with an uncompressed point, which is then the end of its bytes. */
static bool find_p256(const X509_PUBKEY *pubkey, const unsigned char **point)
{
    ASN1_OBJECT *algorithm = NULL;
    X509_ALGOR *whole = NULL;
    const void *group = NULL;
    int len = 0, kind = V_ASN1_UNDEF;
    if (X509_PUBKEY_get0_param(&algorithm, point, &len, &whole, pubkey) != 1 ||
        OBJ_obj2nid(algorithm) != NID_X9_62_id_ecPublicKey || len != 1 + 2 * P256_LEN ||
        (*point)[0] != P256_HEAD[sizeof P256_HEAD - 1])
        return false;
    X509_ALGOR_get0(NULL, &kind, &group, whole);
    return kind == V_ASN1_OBJECT && OBJ_obj2nid(group) == NID_X9_62_prime256v1;
}

enum err devid_pubkey_hash(uint8_t out[SPKI_HASH_LEN], const X509_PUBKEY *pubkey)
{
    uint8_t der[sizeof P256_HEAD + 2 * P256_LEN];
    const unsigned char *point = NULL;
    EVP_PKEY *key = X509_PUBKEY_get0(pubkey);
    if (key == NULL)
        return ERR_CRYPTO;
    if (!find_p256(pubkey, &point))
        return devid_spki_hash(out, key);
    memcpy(der, P256_HEAD, sizeof P256_HEAD);
    memcpy(der + sizeof P256_HEAD, point + 1, 2 * P256_LEN);
    SHA256(der, sizeof der, out);
    return ERR_OK;
}

void devid_from_hash(struct devid *out, const uint8_t hash[SPKI_HASH_LEN])
{
    base32_encode((struct span){ hash, 20 }, out->text);
}

enum err devid_from_key(struct devid *out, EVP_PKEY *key)
{
    uint8_t hash[SPKI_HASH_LEN];
    enum err e = devid_spki_hash(hash, key);
    if (e == ERR_OK)
        devid_from_hash(out, hash);
    return e;
}

bool devid_is_valid(struct span text)
{
    if (text.len != DEVID_LEN)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '2' && c <= '7')))
            return false;
    }
    return true;
}
