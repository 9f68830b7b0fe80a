#include "provisiond/core/factory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include "common/pki/cert.h"

#define AUTH_LEVEL 2 /* OpenSSL's: 112 bits, no SHA-1 signature */
#define TEXT_MAX 512

struct factory {
    X509_STORE *trusted;
};

enum err factory_new(struct factory **out, struct span pem, struct err_info *info)
{
    STACK_OF(X509) *cas = NULL;
    enum err e = cert_chain_parse(&cas, pem, info);
    if (e != ERR_OK)
        return e;
    struct factory *f = calloc(1, sizeof *f);
    if (f != NULL)
        f->trusted = X509_STORE_new();
    if (f == NULL || f->trusted == NULL)
        e = err_set(info, ERR_NOMEM, "out of memory");
    for (int i = 0; e == ERR_OK && i < sk_X509_num(cas); i++) {
        X509 *ca = sk_X509_value(cas, i);
        if (X509_check_ca(ca) == 0)
            e = err_set(info, ERR_INVALID, "certificate %d is not that of a CA", i + 1);
        else if (X509_STORE_add_cert(f->trusted, ca) != 1)
            e = err_set(info, ERR_INVALID, "certificate %d cannot be used", i + 1);
    }
    sk_X509_pop_free(cas, X509_free);
    if (e != ERR_OK) {
        factory_free(f);
        return e;
    }
    *out = f;
    return ERR_OK;
}

void factory_free(struct factory *f)
{
    if (f == NULL)
        return;
    X509_STORE_free(f->trusted);
    free(f);
}

static enum err check_chain(const struct factory *f, const struct factory_claim *c,
                            struct err_info *info)
{
    X509 *leaf = sk_X509_value(c->chain, 0);
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    if (ctx == NULL || X509_STORE_CTX_init(ctx, f->trusted, leaf, c->chain) != 1) {
        X509_STORE_CTX_free(ctx);
        return err_set(info, ERR_NOMEM, "out of memory");
    }
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_time(param, (time_t)c->now_s);
    X509_VERIFY_PARAM_set_depth(param, CERT_CHAIN_MAX);
    X509_VERIFY_PARAM_set_auth_level(param, AUTH_LEVEL);
    (void)X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
    enum err e = ERR_OK;
    if (X509_verify_cert(ctx) != 1)
        e = err_set(info, ERR_DENIED, "the factory certificate is not accepted: %s",
                    X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
    else if (X509_check_ca(leaf) != 0)
        e = err_set(info, ERR_DENIED, "the factory certificate is that of a CA, not of a device");
    X509_STORE_CTX_free(ctx);
    return e;
}

static bool verify(EVP_PKEY *key, const char *text, struct span proof)
{
    const EVP_MD *md = EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_sha256();
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok =
        ctx != NULL && EVP_DigestVerifyInit(ctx, NULL, md, NULL, key) == 1 &&
        EVP_DigestVerify(ctx, proof.p, proof.len, (const unsigned char *)text, strlen(text)) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}

static enum err check_proof(EVP_PKEY *key, const struct factory_claim *c, struct err_info *info)
{
    char text[TEXT_MAX];
    if (EVP_PKEY_eq(key, c->identity) == 1)
        return ERR_OK; /* the connection is the proof */
    int n = snprintf(text, sizeof text, "lanyard-factory-v1 %s ", c->zone);
    for (size_t i = 0; i < SPKI_HASH_LEN && n > 0 && (size_t)n + 2 < sizeof text; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, "%02x", c->identity_spki_sha256[i]);
    if (c->proof.len == 0 || c->proof.len > FACTORY_PROOF_MAX || !verify(key, text, c->proof))
        return err_set(info, ERR_DENIED,
                       "the factory key has not signed the identity key of this connection");
    return ERR_OK;
}

enum err factory_check(const struct factory *f, const struct factory_claim *c,
                       uint8_t spki_sha256[SPKI_HASH_LEN], char serial[FACTORY_SERIAL_MAX],
                       struct err_info *info)
{
    X509 *leaf = sk_X509_value(c->chain, 0);
    EVP_PKEY *key = leaf == NULL ? NULL : X509_get0_pubkey(leaf);
    enum err e = ERR_OK;
    if (key == NULL || cert_serial_hex(leaf, serial, FACTORY_SERIAL_MAX) != ERR_OK)
        e = err_set(info, ERR_DENIED, "the factory certificate cannot be read");
    if (e == ERR_OK)
        e = check_chain(f, c, info);
    if (e == ERR_OK)
        e = check_proof(key, c, info);
    if (e == ERR_OK)
        e = devid_spki_hash(spki_sha256, key);
    ERR_clear_error();
    return e;
}
