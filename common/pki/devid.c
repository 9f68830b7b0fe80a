#include "common/pki/devid.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <openssl/x509.h>

#include "common/base/base32.h"

enum err devid_spki_hash(uint8_t out[SPKI_HASH_LEN], EVP_PKEY *key)
{
    unsigned char *der = NULL;
    int n = i2d_PUBKEY(key, &der);
    if (n <= 0)
        return ERR_CRYPTO;
    SHA256(der, (size_t)n, out);
    OPENSSL_free(der);
    return ERR_OK;
}

enum err devid_from_key(struct devid *out, EVP_PKEY *key)
{
    uint8_t hash[SPKI_HASH_LEN];
    enum err e = devid_spki_hash(hash, key);
    if (e == ERR_OK)
        base32_encode((struct span){ hash, 20 }, out->text);
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
