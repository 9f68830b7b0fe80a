#include "provisiond/acme/jws.h"

#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include "common/base/b64url.h"

#define COORD_LEN 32                  /* bytes of a P-256 coordinate, and of r and s */
#define SIGNING_INPUT_MAX (96 * 1024) /* bytes; a CSR of 16 KiB has 29 KiB here */

enum err jws_jwk(struct buf *out, EVP_PKEY *key)
{
    uint8_t xy[2][COORD_LEN];
    char group[32] = "", text[2][B64URL_LEN(COORD_LEN) + 1];
    BIGNUM *x = NULL, *y = NULL;
    bool ok = EVP_PKEY_get_group_name(key, group, sizeof group, NULL) == 1 &&
              strcmp(group, SN_X9_62_prime256v1) == 0 &&
              EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_EC_PUB_X, &x) == 1 &&
              EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_EC_PUB_Y, &y) == 1 &&
              BN_bn2binpad(x, xy[0], COORD_LEN) == COORD_LEN &&
              BN_bn2binpad(y, xy[1], COORD_LEN) == COORD_LEN;
    BN_free(x);
    BN_free(y);
    ERR_clear_error();
    if (!ok)
        return ERR_CONFIG;
    b64url_encode((struct span){ xy[0], COORD_LEN }, text[0]);
    b64url_encode((struct span){ xy[1], COORD_LEN }, text[1]);
    /* members in lexicographic order, no spaces [RFC 7638 s3.2] */
    buf_add_fmt(out, "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"%s\",\"y\":\"%s\"}", text[0],
                text[1]);
    return buf_error(out);
}

enum err jws_thumbprint(char out[JWS_THUMBPRINT_LEN + 1], EVP_PKEY *key)
{
    uint8_t hash[SHA256_DIGEST_LENGTH];
    struct buf jwk;
    buf_init(&jwk, 256);
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
static enum err sign_raw(EVP_PKEY *key, struct span input, uint8_t out[2 * COORD_LEN])
{
    unsigned char der[96]; /* a P-256 signature has at most 72 bytes */
    const unsigned char *p = der;
    size_t len = sizeof der;
    ECDSA_SIG *sig = NULL;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (ctx == NULL)
        return ERR_NOMEM;
    enum err e = ERR_CRYPTO;
    if (EVP_PKEY_get_size(key) <= (int)sizeof der &&
        EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
        EVP_DigestSign(ctx, der, &len, input.p, input.len) == 1 &&
        (sig = d2i_ECDSA_SIG(NULL, &p, (long)len)) != NULL &&
        BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, COORD_LEN) == COORD_LEN &&
        BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + COORD_LEN, COORD_LEN) == COORD_LEN)
        e = ERR_OK;
    ECDSA_SIG_free(sig);
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return e;
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

enum err jws_es256(struct buf *out, EVP_PKEY *key, struct span protected, struct span payload)
{
    uint8_t signature[2 * COORD_LEN];
    struct buf input;
    buf_init(&input, SIGNING_INPUT_MAX);
    enum err e = signing_input(&input, protected, payload);
    if (e == ERR_OK)
        e = sign_raw(key, buf_span(&input), signature);
    if (e == ERR_OK)
        e = flatten(out, buf_span(&input), (struct span){ signature, sizeof signature });
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
    struct buf head;
    enum err e = ERR_OK;
    if (!is_plain(header->url) || !is_plain(header->nonce) ||
        (header->kid != NULL && !is_plain(header->kid)))
        return ERR_INVALID;
    buf_init(&head, 4 * JWS_TEXT_MAX);
    buf_add_str(&head, "{\"alg\":\"ES256\",");
    if (header->kid != NULL) {
        buf_add_fmt(&head, "\"kid\":\"%s\"", header->kid);
    } else {
        buf_add_str(&head, "\"jwk\":");
        e = jws_jwk(&head, key);
    }
    buf_add_fmt(&head, ",\"nonce\":\"%s\",\"url\":\"%s\"}", header->nonce, header->url);
    if (e == ERR_OK)
        e = buf_error(&head);
    if (e == ERR_OK)
        e = jws_es256(out, key, buf_span(&head), payload);
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
    buf_init(&jwk, 256);
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
