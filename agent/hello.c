#include "agent/hello.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/x509.h>

#include "common/base/b64url.h"

#define SPKI_MAX 128
#define NUMBER_LEN 32 /* bytes of r and of s, for P-256 */

bool hello_is_nonce(const char *nonce)
{
    static const char LETTERS[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t len = strlen(nonce);
    return len >= HELLO_NONCE_MIN && len <= HELLO_NONCE_MAX && strspn(nonce, LETTERS) == len;
}

/* The DER signature as r and s of fixed length, as WebCrypto wants it. */
static enum err to_raw(const unsigned char *der, size_t len, uint8_t out[2 * NUMBER_LEN])
{
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)len);
    bool ok = sig != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, NUMBER_LEN) == NUMBER_LEN &&
              BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + NUMBER_LEN, NUMBER_LEN) == NUMBER_LEN;
    ECDSA_SIG_free(sig);
    return ok ? ERR_OK : ERR_CRYPTO;
}

static enum err sign(EVP_PKEY *key, const char *text, char out[B64URL_LEN(2 * NUMBER_LEN) + 1])
{
    unsigned char der[2 * NUMBER_LEN + 16];
    uint8_t raw[2 * NUMBER_LEN];
    size_t len = sizeof der;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    enum err e = md == NULL ? ERR_NOMEM : ERR_CRYPTO;
    if (md != NULL && EVP_DigestSignInit(md, NULL, EVP_sha256(), NULL, key) == 1 &&
        EVP_DigestSign(md, der, &len, (const unsigned char *)text, strlen(text)) == 1)
        e = to_raw(der, len, raw);
    if (e == ERR_OK)
        b64url_encode((struct span){ raw, sizeof raw }, out);
    ERR_clear_error();
    EVP_MD_CTX_free(md);
    return e;
}

static enum err encode_key(EVP_PKEY *key, char out[B64URL_LEN(SPKI_MAX) + 1])
{
    uint8_t der[SPKI_MAX], *p = der;
    int len = i2d_PUBKEY(key, NULL);
    if (len <= 0 || len > SPKI_MAX || i2d_PUBKEY(key, &p) != len)
        return ERR_CRYPTO;
    b64url_encode((struct span){ der, (size_t)len }, out);
    return ERR_OK;
}

enum err hello_make(struct buf *out, const struct identity *id, const char *name, const char *nonce,
                    int64_t now_s)
{
    char text[256], signature[B64URL_LEN(2 * NUMBER_LEN) + 1], key[B64URL_LEN(SPKI_MAX) + 1];
    json_t *root =
        json_pack("{ss ss sI}", "id", id->id.text, "name", name, "time", (json_int_t)now_s);
    enum err e = root == NULL ? ERR_NOMEM : ERR_OK;
    if (e == ERR_OK && nonce[0] != 0) {
        (void)snprintf(text, sizeof text, "lanyard-hello-v1\n%s\n%s\n%lld\n", id->id.text, nonce,
                       (long long)now_s);
        e = sign(id->key, text, signature);
        if (e == ERR_OK)
            e = encode_key(id->key, key);
        if (e == ERR_OK && (json_object_set_new(root, "nonce", json_string(nonce)) != 0 ||
                            json_object_set_new(root, "key", json_string(key)) != 0 ||
                            json_object_set_new(root, "signature", json_string(signature)) != 0))
            e = ERR_NOMEM;
    }
    char *json = e == ERR_OK ? json_dumps(root, JSON_COMPACT) : NULL;
    if (json != NULL)
        buf_add_str(out, json);
    if (e == ERR_OK)
        e = json == NULL ? ERR_NOMEM : buf_error(out);
    free(json);
    json_decref(root);
    return e;
}
