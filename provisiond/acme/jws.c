#include "provisiond/acme/jws.h"

#include <stdbool.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include "common/base/attr.h"
#include "common/base/b64url.h"

#define COORD_MAX 48                  /* bytes of a P-384 coordinate, and of r and s */
#define RSA_MAX 1024                  /* bytes of a modulus or a signature */
#define SIGNING_INPUT_MAX (96 * 1024) /* bytes; a CSR of 16 KiB has 29 KiB here */

/* [RFC 7518 s3.1] */
struct alg {
    const char *group; /* OpenSSL's name of the curve; NULL: RSA */
    const char *name, *curve;
    const EVP_MD *(*digest)(void);
    int coord_len; /* bytes */
};

static const struct alg *alg_of(EVP_PKEY *key)
{
    static const struct alg ALGS[] = {
        { SN_X9_62_prime256v1, "ES256", "P-256", EVP_sha256, 32 },
        { SN_secp384r1, "ES384", "P-384", EVP_sha384, 48 },
        { NULL, "RS256", NULL, EVP_sha256, 0 },
    };
    char group[32] = "";
    bool is_rsa = EVP_PKEY_is_a(key, "RSA") == 1;
    if (!is_rsa && EVP_PKEY_get_group_name(key, group, sizeof group, NULL) != 1)
        group[0] = 0;
    ERR_clear_error();
    for (size_t i = 0; i < ARRAY_LEN(ALGS); i++)
        if (ALGS[i].group == NULL ? is_rsa : strcmp(group, ALGS[i].group) == 0)
            return &ALGS[i];
    return NULL;
}

/* Appends "NAME":"base64url of the key's number `param`", padded to `len` bytes where that is not
 * 0.
 */
static bool add_number(struct buf *out, EVP_PKEY *key, const char *name, const char *param, int len)
{
    uint8_t bytes[RSA_MAX];
    BIGNUM *n = NULL;
    bool ok = EVP_PKEY_get_bn_param(key, param, &n) == 1 && BN_num_bytes(n) <= RSA_MAX;
    if (ok) {
        len = len > 0 ? len : BN_num_bytes(n);
        ok = BN_bn2binpad(n, bytes, len) == len;
    }
    BN_free(n);
    ERR_clear_error();
    if (!ok)
        return false;
    buf_add_fmt(out, "\"%s\":\"", name);
    b64url_append(out, (struct span){ bytes, (size_t)len });
    buf_add_str(out, "\"");
    return true;
}

/* Members in lexicographic order, no spaces. [RFC 7638 s3.2] */
enum err jws_jwk(struct buf *out, EVP_PKEY *key)
{
    const struct alg *alg = alg_of(key);
    bool ok = alg != NULL;
    buf_add_str(out, "{");
    if (ok && alg->group == NULL) {
        ok = add_number(out, key, "e", OSSL_PKEY_PARAM_RSA_E, 0);
        buf_add_str(out, ",\"kty\":\"RSA\",");
        ok = ok && add_number(out, key, "n", OSSL_PKEY_PARAM_RSA_N, 0);
    } else if (ok) {
        buf_add_fmt(out, "\"crv\":\"%s\",\"kty\":\"EC\",", alg->curve);
        ok = add_number(out, key, "x", OSSL_PKEY_PARAM_EC_PUB_X, alg->coord_len);
        buf_add_str(out, ",");
        ok = ok && add_number(out, key, "y", OSSL_PKEY_PARAM_EC_PUB_Y, alg->coord_len);
    }
    buf_add_str(out, "}");
    return ok ? buf_error(out) : ERR_CONFIG;
}

enum err jws_thumbprint(char out[JWS_THUMBPRINT_LEN + 1], EVP_PKEY *key)
{
    uint8_t hash[SHA256_DIGEST_LENGTH];
    struct buf jwk;
    buf_init(&jwk, 4 * RSA_MAX);
    enum err e = jws_jwk(&jwk, key);
    if (e == ERR_OK) {
        SHA256(jwk.p, jwk.len, hash);
        b64url_encode((struct span){ hash, sizeof hash }, out);
    }
    buf_clear(&jwk);
    return e;
}

void jws_txt_value(char out[JWS_THUMBPRINT_LEN + 1], const char *token, const char *thumbprint)
{
    uint8_t hash[SHA256_DIGEST_LENGTH] = { 0 };
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    /* without memory the value is one that no CA accepts: the order fails and is tried again */
    if (ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 &&
        EVP_DigestUpdate(ctx, token, strlen(token)) == 1 && EVP_DigestUpdate(ctx, ".", 1) == 1 &&
        EVP_DigestUpdate(ctx, thumbprint, strlen(thumbprint)) == 1)
        (void)EVP_DigestFinal_ex(ctx, hash, NULL);
    EVP_MD_CTX_free(ctx);
    b64url_encode((struct span){ hash, sizeof hash }, out);
}

/* Raw r || s from OpenSSL's DER form. [RFC 7518 s3.4] */
static bool raw_of_der(uint8_t *out, struct span der, int coord_len)
{
    const unsigned char *p = der.p;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, (long)der.len);
    bool ok = sig != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, coord_len) == coord_len &&
              BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + coord_len, coord_len) == coord_len;
    ECDSA_SIG_free(sig);
    return ok;
}

/* *len receives the length of the signature in `out`. */
static enum err sign_raw(EVP_PKEY *key, struct span input, uint8_t out[RSA_MAX], size_t *len)
{
    const struct alg *alg = alg_of(key);
    uint8_t der[RSA_MAX];
    size_t der_len = sizeof der;
    if (alg == NULL || EVP_PKEY_get_size(key) > RSA_MAX)
        return ERR_CONFIG;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (ctx == NULL)
        return ERR_NOMEM;
    bool ok = EVP_DigestSignInit(ctx, NULL, alg->digest(), NULL, key) == 1 &&
              EVP_DigestSign(ctx, der, &der_len, input.p, input.len) == 1;
    if (ok && alg->coord_len > 0) {
        ok = raw_of_der(out, (struct span){ der, der_len }, alg->coord_len);
        *len = 2 * (size_t)alg->coord_len;
    } else if (ok) {
        memcpy(out, der, der_len);
        *len = der_len;
    }
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return ok ? ERR_OK : ERR_CRYPTO;
}

static enum err signing_input(struct buf *out, struct span protected, struct span payload)
{
    b64url_append(out, protected);
    buf_add_str(out, ".");
    b64url_append(out, payload);
    return buf_error(out);
}

/* The flattened serialization, from "PROTECTED.PAYLOAD" and the signature. [RFC 7515 s7.2.2] */
static enum err flatten(struct buf *out, struct span input, struct span signature)
{
    const uint8_t *dot = memchr(input.p, '.', input.len);
    size_t head = (size_t)(dot - input.p);
    buf_add_str(out, "{\"protected\":\"");
    buf_add(out, input.p, head);
    buf_add_str(out, "\",\"payload\":\"");
    buf_add(out, dot + 1, input.len - head - 1);
    buf_add_str(out, "\",\"signature\":\"");
    b64url_append(out, signature);
    buf_add_str(out, "\"}");
    return buf_error(out);
}

enum err jws_by_key(struct buf *out, EVP_PKEY *key, struct span protected, struct span payload)
{
    uint8_t signature[RSA_MAX];
    size_t len = 0;
    struct buf input;
    buf_init(&input, SIGNING_INPUT_MAX);
    enum err e = signing_input(&input, protected, payload);
    if (e == ERR_OK)
        e = sign_raw(key, buf_span(&input), signature, &len);
    if (e == ERR_OK)
        e = flatten(out, buf_span(&input), (struct span){ signature, len });
    buf_clear(&input);
    return e;
}

enum err jws_hs256(struct buf *out, struct span mac_key, struct span protected, struct span payload)
{
    uint8_t mac[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    struct buf input;
    buf_init(&input, SIGNING_INPUT_MAX);
    enum err e = signing_input(&input, protected, payload);
    if (e == ERR_OK &&
        HMAC(EVP_sha256(), mac_key.p, (int)mac_key.len, input.p, input.len, mac, &len) == NULL)
        e = ERR_CRYPTO;
    if (e == ERR_OK)
        e = flatten(out, buf_span(&input), (struct span){ mac, len });
    buf_clear(&input);
    return e;
}

/* Whether `s` can stand between quotes in JSON as it is. */
static bool is_plain(const char *s)
{
    size_t len = strnlen(s, JWS_TEXT_MAX + 1);
    for (size_t i = 0; i < len; i++)
        if (s[i] < ' ' || s[i] > '~' || s[i] == '"' || s[i] == '\\')
            return false;
    return len > 0 && len <= JWS_TEXT_MAX;
}

enum err jws_sign(struct buf *out, EVP_PKEY *key, const struct jws_header *header,
                  struct span payload)
{
    const struct alg *alg = alg_of(key);
    struct buf head;
    enum err e = ERR_OK;
    if (alg == NULL)
        return ERR_CONFIG;
    if (!is_plain(header->url) || (header->nonce != NULL && !is_plain(header->nonce)) ||
        (header->kid != NULL && !is_plain(header->kid)))
        return ERR_INVALID;
    buf_init(&head, 4 * JWS_TEXT_MAX + 4 * RSA_MAX);
    buf_add_fmt(&head, "{\"alg\":\"%s\",", alg->name);
    if (header->kid != NULL) {
        buf_add_fmt(&head, "\"kid\":\"%s\"", header->kid);
    } else {
        buf_add_str(&head, "\"jwk\":");
        e = jws_jwk(&head, key);
    }
    if (header->nonce != NULL)
        buf_add_fmt(&head, ",\"nonce\":\"%s\"", header->nonce);
    buf_add_fmt(&head, ",\"url\":\"%s\"}", header->url);
    if (e == ERR_OK)
        e = buf_error(&head);
    if (e == ERR_OK)
        e = jws_by_key(out, key, buf_span(&head), payload);
    buf_clear(&head);
    return e;
}

enum err jws_bind(struct buf *out, EVP_PKEY *account_key, const char *new_account_url,
                  const char *kid, struct span mac_key)
{
    struct buf head, jwk;
    if (!is_plain(new_account_url) || !is_plain(kid))
        return ERR_INVALID;
    buf_init(&head, 4 * JWS_TEXT_MAX);
    buf_init(&jwk, 4 * RSA_MAX);
    buf_add_fmt(&head, "{\"alg\":\"HS256\",\"kid\":\"%s\",\"url\":\"%s\"}", kid, new_account_url);
    enum err e = buf_error(&head);
    if (e == ERR_OK)
        e = jws_jwk(&jwk, account_key);
    if (e == ERR_OK)
        e = jws_hs256(out, mac_key, buf_span(&head), buf_span(&jwk));
    buf_clear(&head);
    buf_clear(&jwk);
    return e;
}
