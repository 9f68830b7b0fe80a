#include "common/pki/cert.h"

#include <string.h>
#include <time.h>

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "common/pki/biobuf.h"
#include "common/pki/devid.h"

#define IDENTITY_LIFE_S ((int64_t)3650 * 86400)

enum err cert_chain_parse(STACK_OF(X509) * *out, struct span pem, struct err_info *info)
{
    enum err e = ERR_NOMEM;
    if (pem.len > CERT_PEM_MAX)
        return err_set(info, ERR_LIMIT, "the chain is larger than %d bytes", CERT_PEM_MAX);
    BIO *bio = BIO_new_mem_buf(pem.len > 0 ? (const void *)pem.p : "", (int)pem.len);
    STACK_OF(X509) *chain = sk_X509_new_null();
    if (bio == NULL || chain == NULL)
        goto out;
    X509 *cert;
    while ((cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        if (sk_X509_num(chain) == CERT_CHAIN_MAX || sk_X509_push(chain, cert) <= 0) {
            X509_free(cert);
            e = err_set(info, ERR_LIMIT, "more than %d certificates in the chain", CERT_CHAIN_MAX);
            goto out;
        }
    }
    /* the end of the text is reported as "no start line"; anything else is damage */
    unsigned long why = ERR_peek_last_error();
    if (sk_X509_num(chain) == 0 || ERR_GET_REASON(why) != PEM_R_NO_START_LINE) {
        e = err_set(info, ERR_INVALID, "not a PEM certificate chain");
        goto out;
    }
    *out = chain;
    chain = NULL;
    e = ERR_OK;
out:
    ERR_clear_error();
    BIO_free_all(bio);
    sk_X509_pop_free(chain, X509_free);
    return e;
}

enum err cert_to_pem(X509 *cert, struct buf *out)
{
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio == NULL)
        return ERR_NOMEM;
    enum err e = ERR_CRYPTO;
    if (PEM_write_bio_X509(bio, cert) == 1)
        e = biobuf_add(out, bio);
    BIO_free_all(bio);
    return e;
}

static enum err to_unix(const ASN1_TIME *at, int64_t *out)
{
    struct tm tm;
    if (ASN1_TIME_to_tm(at, &tm) != 1)
        return ERR_INVALID;
    *out = (int64_t)timegm(&tm);
    return ERR_OK;
}

enum err cert_validity(const X509 *cert, int64_t *not_before_s, int64_t *not_after_s)
{
    int64_t from, to;
    enum err e = to_unix(X509_get0_notBefore(cert), &from);
    if (e == ERR_OK)
        e = to_unix(X509_get0_notAfter(cert), &to);
    if (e != ERR_OK)
        return e;
    *not_before_s = from;
    *not_after_s = to;
    return ERR_OK;
}

enum err cert_serial_hex(const X509 *cert, char *out, size_t cap)
{
    static const char HEX[] = "0123456789abcdef";
    const ASN1_INTEGER *serial = X509_get0_serialNumber(cert);
    size_t n = (size_t)ASN1_STRING_length(serial);
    const unsigned char *p = ASN1_STRING_get0_data(serial);
    if (n * 2 + 1 > cap)
        return ERR_LIMIT;
    for (size_t i = 0; i < n; i++) {
        *out++ = HEX[p[i] >> 4];
        *out++ = HEX[p[i] & 15];
    }
    *out = 0;
    return ERR_OK;
}

enum err cert_new_identity(X509 **out, EVP_PKEY *key, int64_t now_s)
{
    struct devid id;
    enum err e = devid_from_key(&id, key);
    if (e != ERR_OK)
        return e;
    X509 *cert = X509_new();
    if (cert == NULL)
        return ERR_NOMEM;
    e = ERR_CRYPTO;
    X509_NAME *name = X509_get_subject_name(cert);
    time_t day_ago = (time_t)(now_s - 86400), end = (time_t)(now_s + IDENTITY_LIFE_S);
    if (X509_set_version(cert, X509_VERSION_3) != 1 ||
        ASN1_INTEGER_set(X509_get_serialNumber(cert), 1) != 1 ||
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)id.text, -1, -1,
                                   0) != 1 ||
        X509_set_issuer_name(cert, name) != 1 ||
        ASN1_TIME_set(X509_getm_notBefore(cert), day_ago) == NULL ||
        ASN1_TIME_set(X509_getm_notAfter(cert), end) == NULL || X509_set_pubkey(cert, key) != 1 ||
        X509_sign(cert, key, EVP_sha256()) <= 0)
        goto out;
    *out = cert;
    cert = NULL;
    e = ERR_OK;
out:
    X509_free(cert);
    return e;
}
