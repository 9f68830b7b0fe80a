#include "provisiond/local/localcrl.h"

#include <limits.h>
#include <stdio.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "common/base/buf.h"
#include "common/base/file.h"
#include "common/pki/biobuf.h"

#define BACKDATE_S 300
#define CRL_MAX ((size_t)256 * 1024 * 1024) /* bytes: four million entries as PEM */

static bool set_number(ASN1_INTEGER *out, const char *hex)
{
    BIGNUM *n = NULL;
    bool ok = BN_hex2bn(&n, hex) > 0 && BN_to_ASN1_INTEGER(n, out) != NULL;
    BN_free(n);
    return ok;
}

static bool set_reason(X509_REVOKED *r, int reason)
{
    ASN1_ENUMERATED *e = reason == 0 ? NULL : ASN1_ENUMERATED_new();
    bool ok = reason == 0 || (e != NULL && ASN1_ENUMERATED_set(e, reason) == 1 &&
                              X509_REVOKED_add1_ext_i2d(r, NID_crl_reason, e, 0, 0) == 1);
    ASN1_ENUMERATED_free(e);
    return ok;
}

static enum err add_entry(X509_CRL *crl, const struct localcrl_entry *entry, struct err_info *info)
{
    X509_REVOKED *r = X509_REVOKED_new();
    ASN1_INTEGER *serial = ASN1_INTEGER_new();
    ASN1_TIME *at = ASN1_TIME_set(NULL, (time_t)entry->at);
    enum err e = ERR_NOMEM;
    if (r == NULL || serial == NULL || at == NULL)
        goto out;
    e = err_set(info, ERR_INVALID, "%s is no serial number", entry->serial);
    if (!set_number(serial, entry->serial))
        goto out;
    e = ERR_CRYPTO;
    if (X509_REVOKED_set_serialNumber(r, serial) == 1 && X509_REVOKED_set_revocationDate(r, at) &&
        set_reason(r, entry->reason) && X509_CRL_add0_revoked(crl, r) == 1) {
        r = NULL;
        e = ERR_OK;
    }
out:
    X509_REVOKED_free(r);
    ASN1_INTEGER_free(serial);
    ASN1_TIME_free(at);
    return e;
}

static bool set_head(X509_CRL *crl, X509 *issuer, int64_t now_s)
{
    X509V3_CTX ctx;
    ASN1_TIME *from = ASN1_TIME_set(NULL, (time_t)(now_s - BACKDATE_S));
    ASN1_TIME *to = ASN1_TIME_set(NULL, (time_t)(now_s + LOCALCRL_LIFE_S));
    ASN1_INTEGER *number = ASN1_INTEGER_new();
    X509V3_set_ctx(&ctx, issuer, NULL, NULL, crl, 0);
    X509V3_set_ctx_nodb(&ctx);
    X509_EXTENSION *key =
        X509V3_EXT_nconf_nid(NULL, &ctx, NID_authority_key_identifier, "keyid:always");
    bool ok = from != NULL && to != NULL && number != NULL && key != NULL &&
              ASN1_INTEGER_set_int64(number, now_s) == 1 &&
              X509_CRL_set_version(crl, X509_CRL_VERSION_2) == 1 &&
              X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer)) == 1 &&
              X509_CRL_set1_lastUpdate(crl, from) == 1 && X509_CRL_set1_nextUpdate(crl, to) == 1 &&
              X509_CRL_add_ext(crl, key, -1) == 1 &&
              X509_CRL_add1_ext_i2d(crl, NID_crl_number, number, 0, 0) == 1;
    X509_EXTENSION_free(key);
    ASN1_INTEGER_free(number);
    ASN1_TIME_free(from);
    ASN1_TIME_free(to);
    return ok;
}

static enum err write_files(X509_CRL *crl, const char *dir, const char *der_path,
                            struct err_info *info)
{
    char path[PATH_MAX];
    struct buf text;
    unsigned char *der = NULL;
    BIO *pem = BIO_new(BIO_s_mem());
    enum err e = ERR_CRYPTO;
    buf_init(&text, CRL_MAX);
    int n = snprintf(path, sizeof path, "%s/" LOCALCRL_FILE, dir);
    int der_len = i2d_X509_CRL(crl, &der);
    if (n > 0 && (size_t)n < sizeof path && der_len > 0 && pem != NULL &&
        PEM_write_bio_X509_CRL(pem, crl) == 1) {
        e = biobuf_add(&text, pem);
        if (e == ERR_OK)
            e = file_write_atomic(path, buf_span(&text), 0600, info);
        if (e == ERR_OK && der_path != NULL)
            e = file_write_atomic(der_path, (struct span){ der, (size_t)der_len }, 0644, info);
    }
    BIO_free_all(pem);
    OPENSSL_free(der);
    buf_clear(&text);
    return e;
}

enum err localcrl_write(const struct localca *ca, const struct localcrl_entry *list, size_t n,
                        int64_t now_s, const char *der_path, struct err_info *info)
{
    X509 *issuer = localca_signer(ca);
    X509_CRL *crl = X509_CRL_new();
    enum err e = crl == NULL ? ERR_NOMEM : ERR_OK;
    for (size_t i = 0; i < n && e == ERR_OK; i++)
        e = add_entry(crl, &list[i], info);
    if (e == ERR_OK && (!set_head(crl, issuer, now_s) || X509_CRL_sort(crl) != 1 ||
                        X509_CRL_sign(crl, localca_signing_key(ca), EVP_sha256()) <= 0))
        e = err_set(info, ERR_CRYPTO, "the local CA cannot sign its revocation list");
    if (e == ERR_OK)
        e = write_files(crl, localca_dir(ca), der_path, info);
    X509_CRL_free(crl);
    ERR_clear_error();
    return e;
}
