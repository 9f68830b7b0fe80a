#include "agent/core/csr.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "agent/core/issued.h"
#include "common/pki/biobuf.h"

static enum err add_name(X509_REQ *req, const char *name)
{
    enum err e = ERR_NOMEM;
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    GENERAL_NAME *gn = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();
    STACK_OF(X509_EXTENSION) *exts = NULL;
    if (names == NULL || gn == NULL || text == NULL || ASN1_STRING_set(text, name, -1) != 1)
        goto out;
    GENERAL_NAME_set0_value(gn, GEN_DNS, text);
    text = NULL;
    if (sk_GENERAL_NAME_push(names, gn) <= 0)
        goto out;
    gn = NULL;
    e = ERR_CRYPTO;
    if (X509V3_add1_i2d(&exts, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) == 1 &&
        X509_REQ_add_extensions(req, exts) == 1)
        e = ERR_OK;
out:
    sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
    ASN1_IA5STRING_free(text);
    GENERAL_NAME_free(gn);
    GENERAL_NAMES_free(names);
    return e;
}

enum err csr_new(struct buf *out, EVP_PKEY *key, const char *name)
{
    enum err e = ERR_NOMEM;
    X509_REQ *req = X509_REQ_new();
    BIO *bio = BIO_new(BIO_s_mem());
    if (req == NULL || bio == NULL)
        goto out;
    e = add_name(req, name);
    if (e != ERR_OK)
        goto out;
    e = ERR_CRYPTO;
    if (X509_REQ_set_version(req, X509_REQ_VERSION_1) != 1 || X509_REQ_set_pubkey(req, key) != 1 ||
        X509_REQ_sign(req, key, EVP_sha256()) <= 0 || PEM_write_bio_X509_REQ(bio, req) != 1)
        goto out;
    e = biobuf_add(out, bio);
out:
    ERR_clear_error();
    BIO_free_all(bio);
    X509_REQ_free(req);
    return e;
}

enum err csr_check(struct span pem, EVP_PKEY *key, const char *name)
{
    enum err e = ERR_INVALID;
    GENERAL_NAMES *names = NULL;
    STACK_OF(X509_EXTENSION) *exts = NULL;
    BIO *bio = pem.len == 0 || pem.len > CSR_PEM_MAX ? NULL : BIO_new_mem_buf(pem.p, (int)pem.len);
    X509_REQ *req = bio == NULL ? NULL : PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL);
    if (req == NULL || X509_REQ_check_private_key(req, key) != 1)
        goto out;
    exts = X509_REQ_get_extensions(req);
    names = exts == NULL ? NULL : X509V3_get_d2i(exts, NID_subject_alt_name, NULL, NULL);
    if (names != NULL && issued_names_match(names, name))
        e = ERR_OK;
out:
    ERR_clear_error();
    GENERAL_NAMES_free(names);
    sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
    X509_REQ_free(req);
    BIO_free_all(bio);
    return e;
}
