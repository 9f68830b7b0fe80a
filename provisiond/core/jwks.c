#include "provisiond/core/jwks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>

#include "common/base/b64url.h"

#define RSA_MIN 2048 /* bits */
#define RSA_MAX 8192
#define EXPONENT_MAX 8 /* bytes */
#define COORD_LEN 32   /* bytes of a P-256 coordinate, and of an Ed25519 key */

static const char *const NAMES[JWKS_ALG_N] = { "RS256", "ES256", "EdDSA" };

struct jwks {
    size_t n;
    struct jwks_key {
        char kid[JWKS_KID_MAX]; /* "": it has none */
        enum jwks_alg alg;
        EVP_PKEY *key;
    } keys[JWKS_KEYS_MAX];
};

enum err jwks_alg_parse(enum jwks_alg *out, const char *name)
{
    for (unsigned i = 0; i < JWKS_ALG_N; i++) {
        if (strcmp(NAMES[i], name) == 0) {
            *out = (enum jwks_alg)i;
            return ERR_OK;
        }
    }
    return ERR_INVALID;
}

/* The bytes of the base64url member `name`; false when it is none, or longer than `cap`. */
static bool get_bytes(const json_t *jwk, const char *name, uint8_t *out, size_t cap, size_t *len)
{
    const json_t *v = json_object_get(jwk, name);
    if (!json_is_string(v))
        return false;
    struct span text = { (const uint8_t *)json_string_value(v), json_string_length(v) };
    return b64url_decode(text, out, cap, len) == ERR_OK && *len > 0;
}

/* NULL when the parameters make no key. */
static EVP_PKEY *make_key(const char *type, OSSL_PARAM_BLD *params)
{
    EVP_PKEY *key = NULL;
    OSSL_PARAM *list = OSSL_PARAM_BLD_to_param(params);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    if (list == NULL || ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, list) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(list);
    return key;
}

static EVP_PKEY *read_rsa(const json_t *jwk)
{
    uint8_t n[RSA_MAX / 8], e[EXPONENT_MAX];
    size_t n_len, e_len;
    EVP_PKEY *key = NULL;
    if (!get_bytes(jwk, "n", n, sizeof n, &n_len) || !get_bytes(jwk, "e", e, sizeof e, &e_len))
        return NULL;
    BIGNUM *modulus = BN_bin2bn(n, (int)n_len, NULL), *exponent = BN_bin2bn(e, (int)e_len, NULL);
    OSSL_PARAM_BLD *params = OSSL_PARAM_BLD_new();
    if (modulus != NULL && exponent != NULL && params != NULL && BN_num_bits(modulus) >= RSA_MIN &&
        BN_is_odd(modulus) && BN_is_odd(exponent) && !BN_is_one(exponent) &&
        OSSL_PARAM_BLD_push_BN(params, OSSL_PKEY_PARAM_RSA_N, modulus) == 1 &&
        OSSL_PARAM_BLD_push_BN(params, OSSL_PKEY_PARAM_RSA_E, exponent) == 1)
        key = make_key("RSA", params);
    OSSL_PARAM_BLD_free(params);
    BN_free(modulus);
    BN_free(exponent);
    return key;
}

/* OpenSSL refuses a point that is not on the curve. */
static EVP_PKEY *read_p256(const json_t *jwk)
{
    uint8_t point[1 + 2 * COORD_LEN] = { 4 }; /* uncompressed [SEC 1 s2.3.3] */
    size_t x_len, y_len;
    EVP_PKEY *key = NULL;
    if (!get_bytes(jwk, "x", point + 1, COORD_LEN, &x_len) || x_len != COORD_LEN ||
        !get_bytes(jwk, "y", point + 1 + COORD_LEN, COORD_LEN, &y_len) || y_len != COORD_LEN)
        return NULL;
    OSSL_PARAM_BLD *params = OSSL_PARAM_BLD_new();
    if (params != NULL &&
        OSSL_PARAM_BLD_push_utf8_string(params, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(params, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point) == 1)
        key = make_key("EC", params);
    OSSL_PARAM_BLD_free(params);
    return key;
}

static EVP_PKEY *read_ed25519(const json_t *jwk)
{
    uint8_t x[COORD_LEN];
    size_t len;
    if (!get_bytes(jwk, "x", x, sizeof x, &len) || len != sizeof x)
        return NULL;
    return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x, len);
}

/* What a JWK's own members make of it. */
static const struct {
    const char *kty, *crv; /* crv NULL: it has none */
    enum jwks_alg alg;
    EVP_PKEY *(*read)(const json_t *jwk);
} KINDS[] = {
    { "RSA", NULL, JWKS_RS256, read_rsa },
    { "EC", "P-256", JWKS_ES256, read_p256 },
    { "OKP", "Ed25519", JWKS_EDDSA, read_ed25519 },
};

/* The string member `name`, "" when it is absent or no string. */
static const char *get_text(const json_t *jwk, const char *name)
{
    const char *text = json_string_value(json_object_get(jwk, name));
    return text != NULL ? text : "";
}

static bool is_kind(const json_t *jwk, size_t k)
{
    return strcmp(get_text(jwk, "kty"), KINDS[k].kty) == 0 &&
           (KINDS[k].crv == NULL || strcmp(get_text(jwk, "crv"), KINDS[k].crv) == 0);
}

/* Whether "use" and "alg", where the JWK has them, allow it. [RFC 7517 s4.2, s4.4] */
static bool is_for_us(const json_t *jwk, enum jwks_alg alg)
{
    const json_t *use = json_object_get(jwk, "use"), *said = json_object_get(jwk, "alg");
    return (use == NULL || strcmp(get_text(jwk, "use"), "sig") == 0) &&
           (said == NULL || strcmp(get_text(jwk, "alg"), NAMES[alg]) == 0);
}

static void add_key(struct jwks *s, const json_t *jwk)
{
    const char *kid = get_text(jwk, "kid");
    size_t k = 0;
    while (k < ARRAY_LEN(KINDS) && !is_kind(jwk, k))
        k++;
    if (k == ARRAY_LEN(KINDS) || !is_for_us(jwk, KINDS[k].alg) || strlen(kid) >= JWKS_KID_MAX ||
        s->n == JWKS_KEYS_MAX)
        return;
    EVP_PKEY *key = KINDS[k].read(jwk);
    ERR_clear_error();
    if (key == NULL)
        return;
    struct jwks_key *out = &s->keys[s->n++];
    out->alg = KINDS[k].alg;
    out->key = key;
    (void)snprintf(out->kid, sizeof out->kid, "%s", kid);
}

enum err jwks_parse(struct jwks **out, struct span text, struct err_info *info)
{
    if (text.len > JWKS_TEXT_MAX)
        return err_set(info, ERR_LIMIT, "the key set is larger than %d bytes", JWKS_TEXT_MAX);
    json_t *root = json_loadb((const char *)text.p, text.len, JSON_REJECT_DUPLICATES, NULL);
    const json_t *keys = json_object_get(root, "keys");
    struct jwks *s = NULL;
    enum err e = ERR_OK;
    if (!json_is_array(keys))
        e = err_set(info, ERR_INVALID, "this is no key set (JSON with an array \"keys\")");
    else if ((s = calloc(1, sizeof *s)) == NULL)
        e = err_set(info, ERR_NOMEM, "out of memory");
    for (size_t i = 0; e == ERR_OK && i < json_array_size(keys); i++)
        add_key(s, json_array_get(keys, i));
    json_decref(root);
    if (e == ERR_OK)
        *out = s;
    return e;
}

void jwks_free(struct jwks *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->n; i++)
        EVP_PKEY_free(s->keys[i].key);
    free(s);
}

size_t jwks_count(const struct jwks *s)
{
    return s->n;
}

EVP_PKEY *jwks_find(const struct jwks *s, const char *kid, enum jwks_alg alg)
{
    EVP_PKEY *found = NULL;
    for (size_t i = 0; i < s->n; i++) {
        const struct jwks_key *k = &s->keys[i];
        if (k->alg != alg || (kid[0] != 0 && strcmp(k->kid, kid) != 0))
            continue;
        if (found != NULL)
            return NULL; /* no telling which is meant */
        found = k->key;
    }
    return found;
}
