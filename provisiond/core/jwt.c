#include "provisiond/core/jwt.h"

#include <string.h>

#include <jansson.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>

#include "common/base/b64url.h"

#define SIGNATURE_MAX 1024              /* bytes: RSA of 8192 bits */
#define NUMBER_LEN 32                   /* bytes of r and of s, for P-256 */
#define NUMERIC_DATE_MAX 253402300799.0 /* the year 9999 */

/* Splits TEXT at its first dot; false when there is none. */
static bool take_part(struct span *text, struct span *part)
{
    const uint8_t *dot = text->len > 0 ? memchr(text->p, '.', text->len) : NULL;
    if (dot == NULL)
        return false;
    *part = (struct span){ text->p, (size_t)(dot - text->p) };
    *text = (struct span){ dot + 1, text->len - part->len - 1 };
    return true;
}

/* The object that a part encodes; NULL when it is none. */
static json_t *read_object(struct span part)
{
    uint8_t raw[JWT_TEXT_MAX];
    size_t len;
    if (b64url_decode(part, raw, sizeof raw, &len) != ERR_OK)
        return NULL;
    json_t *o = json_loadb((const char *)raw, len, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(o)) {
        json_decref(o);
        o = NULL;
    }
    return o;
}

/* Copies a string with its NUL; false when it is none, empty, too long or holds a NUL. */
static bool copy_text(const json_t *v, char *out, size_t cap)
{
    size_t len = json_string_length(v);
    if (!json_is_string(v) || len == 0 || len >= cap ||
        memchr(json_string_value(v), 0, len) != NULL)
        return false;
    memcpy(out, json_string_value(v), len + 1);
    return true;
}

static enum err read_header(struct jwt *out, const json_t *header, struct err_info *info)
{
    const json_t *kid = json_object_get(header, "kid");
    const char *alg = json_string_value(json_object_get(header, "alg"));
    if (alg == NULL || jwks_alg_parse(&out->alg, alg) != ERR_OK)
        return err_set(info, ERR_RANGE, "its algorithm is not RS256, ES256 or EdDSA");
    if (json_object_get(header, "crit") != NULL) /* [RFC 7515 s4.1.11] */
        return err_set(info, ERR_RANGE, "it has critical header members");
    if (kid != NULL && !copy_text(kid, out->kid, sizeof out->kid))
        return err_set(info, ERR_INVALID, "its key id is malformed");
    return ERR_OK;
}

/* A NumericDate, with or without fraction. [RFC 7519 s2] */
static bool read_date(const json_t *v, int64_t *out)
{
    double s = json_number_value(v);
    if (!json_is_number(v) || !(s >= 0) || s > NUMERIC_DATE_MAX)
        return false;
    *out = (int64_t)s;
    return true;
}

static bool read_audiences(struct jwt *out, const json_t *aud)
{
    if (json_is_string(aud)) {
        out->n_aud = 1;
        return copy_text(aud, out->aud[0], sizeof out->aud[0]);
    }
    if (!json_is_array(aud) || json_array_size(aud) > JWT_AUD_MAX)
        return false;
    for (size_t i = 0; i < json_array_size(aud); i++)
        if (!copy_text(json_array_get(aud, i), out->aud[out->n_aud++], sizeof out->aud[0]))
            return false;
    return out->n_aud > 0;
}

static enum err read_claims(struct jwt *out, const json_t *claims, struct err_info *info)
{
    const json_t *nbf = json_object_get(claims, "nbf"), *iat = json_object_get(claims, "iat");
    if (!copy_text(json_object_get(claims, "iss"), out->iss, sizeof out->iss) ||
        !copy_text(json_object_get(claims, "sub"), out->sub, sizeof out->sub))
        return err_set(info, ERR_INVALID, "it names no issuer or no subject");
    if (!read_audiences(out, json_object_get(claims, "aud")))
        return err_set(info, ERR_INVALID, "it names no audience, or more than %d", JWT_AUD_MAX);
    if (!read_date(json_object_get(claims, "exp"), &out->exp) ||
        (nbf != NULL && !read_date(nbf, &out->nbf)) || (iat != NULL && !read_date(iat, &out->iat)))
        return err_set(info, ERR_INVALID, "it has no end (exp), or a date that is none");
    return ERR_OK;
}

enum err jwt_parse(struct jwt *out, struct span token, struct err_info *info)
{
    struct span rest = token, head, body;
    struct jwt t = { .kid = "" };
    if (token.len > JWT_TEXT_MAX)
        return err_set(info, ERR_LIMIT, "it is longer than %d bytes", JWT_TEXT_MAX);
    if (!take_part(&rest, &head) || !take_part(&rest, &body) || rest.len == 0 ||
        memchr(rest.p, '.', rest.len) != NULL)
        return err_set(info, ERR_INVALID, "it has not three parts with a signature");
    json_t *header = read_object(head), *claims = read_object(body);
    enum err e = header == NULL || claims == NULL
                     ? err_set(info, ERR_INVALID, "its parts are no base64url of JSON objects")
                     : read_header(&t, header, info);
    if (e == ERR_OK)
        e = read_claims(&t, claims, info);
    json_decref(header);
    json_decref(claims);
    if (e == ERR_OK)
        *out = t;
    return e;
}

enum err jwt_check(const struct jwt *t, const char *issuer, const char *audience, int64_t now_s,
                   struct err_info *info)
{
    bool for_us = false;
    for (size_t i = 0; i < t->n_aud; i++)
        for_us = for_us || strcmp(t->aud[i], audience) == 0;
    if (strcmp(t->iss, issuer) != 0)
        return err_set(info, ERR_DENIED, "it is from another issuer");
    if (!for_us)
        return err_set(info, ERR_DENIED, "it is for another audience");
    if (t->exp + JWT_LEEWAY_S <= now_s)
        return err_set(info, ERR_DENIED, "it has expired");
    if (t->nbf > now_s + JWT_LEEWAY_S || t->iat > now_s + JWT_LEEWAY_S)
        return err_set(info, ERR_DENIED, "it is not valid yet");
    return ERR_OK;
}

/* ES256 signatures are r and s side by side, OpenSSL's are DER. [RFC 7518 s3.4] Returns the length
 * of the DER form in `out`, 0 when it is none. */
static size_t der_of_raw(const uint8_t *raw, size_t len, uint8_t out[SIGNATURE_MAX])
{
    uint8_t *p = out;
    int n = 0;
    if (len != 2 * NUMBER_LEN)
        return 0;
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw, NUMBER_LEN, NULL),
           *s = BN_bin2bn(raw + NUMBER_LEN, NUMBER_LEN, NULL);
    if (sig != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(sig, r, s) == 1) {
        r = s = NULL; /* handed over */
        n = i2d_ECDSA_SIG(sig, &p);
    }
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(sig);
    return n > 0 ? (size_t)n : 0;
}

enum err jwt_verify(const struct jwt *t, struct span token, const struct jwks *keys)
{
    uint8_t raw[SIGNATURE_MAX], der[SIGNATURE_MAX], *signature = raw;
    size_t len;
    const uint8_t *dot = memrchr(token.p, '.', token.len);
    EVP_PKEY *key = jwks_find(keys, t->kid, t->alg);
    if (key == NULL)
        return ERR_NOTFOUND;
    struct span text = { dot + 1, (size_t)(token.p + token.len - dot - 1) };
    if (b64url_decode(text, raw, sizeof raw, &len) != ERR_OK)
        return ERR_CRYPTO;
    if (t->alg == JWKS_ES256) {
        signature = der;
        len = der_of_raw(raw, len, der);
    }
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    const EVP_MD *digest = t->alg == JWKS_EDDSA ? NULL : EVP_sha256();
    bool holds = ctx != NULL && len > 0 &&
                 EVP_DigestVerifyInit(ctx, NULL, digest, NULL, key) == 1 &&
                 EVP_DigestVerify(ctx, signature, len, token.p, (size_t)(dot - token.p)) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return holds ? ERR_OK : ERR_CRYPTO;
}
