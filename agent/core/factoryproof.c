#include "agent/core/factoryproof.h"

#include "common/base/b64url.h"
#include "common/pki/devid.h"

#define SIGNATURE_MAX 1024 /* bytes; RSA-4096 has 512 */

static enum err sign(struct buf *out, EVP_PKEY *key, struct span text)
{
    uint8_t signature[SIGNATURE_MAX];
    size_t len = sizeof signature;
    const EVP_MD *md = EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_sha256();
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (ctx == NULL)
        return ERR_NOMEM;
    bool ok = EVP_PKEY_get_size(key) <= SIGNATURE_MAX &&
              EVP_DigestSignInit(ctx, NULL, md, NULL, key) == 1 &&
              EVP_DigestSign(ctx, signature, &len, text.p, text.len) == 1;
    EVP_MD_CTX_free(ctx);
    if (!ok)
        return ERR_CRYPTO;
    b64url_append(out, (struct span){ signature, len });
    return buf_error(out);
}

enum err factoryproof_make(struct buf *out, EVP_PKEY *factory_key, EVP_PKEY *identity,
                           const char *zone)
{
    uint8_t hash[SPKI_HASH_LEN];
    struct buf text;
    enum err e = devid_spki_hash(hash, identity);
    if (e != ERR_OK)
        return e;
    buf_init(&text, 512);
    buf_add_fmt(&text, "lanyard-factory-v1 %s ", zone);
    for (size_t i = 0; i < sizeof hash; i++)
        buf_add_fmt(&text, "%02x", hash[i]);
    e = buf_error(&text);
    if (e == ERR_OK)
        e = sign(out, factory_key, buf_span(&text));
    buf_clear(&text);
    return e;
}
