#include "agent/core/localcert.h"

#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>

#include "agent/core/issued.h"
#include "common/pki/cert.h"

#define DAY_S 86400
#define LIFE_S (INT64_C(824) * DAY_S)
#define SPARE_S (INT64_C(30) * DAY_S) /* left when it is made anew */
#define HOST_SUFFIX ".local"

static bool push_name(GENERAL_NAMES *names, int type, const void *p, size_t len)
{
    GENERAL_NAME *gn = GENERAL_NAME_new();
    ASN1_STRING *text = type == GEN_DNS ? ASN1_IA5STRING_new() : ASN1_OCTET_STRING_new();
    if (gn == NULL || text == NULL || ASN1_STRING_set(text, p, (int)len) != 1) {
        GENERAL_NAME_free(gn);
        ASN1_STRING_free(text);
        return false;
    }
    GENERAL_NAME_set0_value(gn, type, text);
    if (sk_GENERAL_NAME_push(names, gn) > 0)
        return true;
    GENERAL_NAME_free(gn);
    return false;
}

static size_t ip_len(const struct ip *ip)
{
    return ip->family == 4 ? 4 : 16;
}

/* "<host>.local"; "" without a host. */
static void local_name(const struct localcert_names *n, char out[80])
{
    (void)snprintf(out, 80, n->host[0] != 0 ? "%s" HOST_SUFFIX : "%s", n->host);
}

static GENERAL_NAMES *make_names(const struct localcert_names *n)
{
    char local[80];
    local_name(n, local);
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    bool ok = names != NULL && push_name(names, GEN_DNS, "localhost", 9) &&
              (local[0] == 0 || push_name(names, GEN_DNS, local, strlen(local)));
    for (size_t i = 0; ok && i < n->n_addresses; i++)
        ok = push_name(names, GEN_IPADD, n->addresses[i].bytes, ip_len(&n->addresses[i]));
    if (ok)
        return names;
    GENERAL_NAMES_free(names);
    return NULL;
}

static bool add_text_extension(X509 *cert, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = ext != NULL && X509_add_ext(cert, ext, -1) == 1;
    X509_EXTENSION_free(ext);
    return ok;
}

static bool add_extensions(X509 *cert, const struct localcert_names *n)
{
    GENERAL_NAMES *names = make_names(n);
    bool ok = names != NULL &&
              X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) == 1 &&
              add_text_extension(cert, NID_basic_constraints, "critical,CA:FALSE") &&
              add_text_extension(cert, NID_key_usage, "critical,digitalSignature") &&
              add_text_extension(cert, NID_ext_key_usage, "serverAuth") &&
              add_text_extension(cert, NID_subject_key_identifier, "hash");
    GENERAL_NAMES_free(names);
    return ok;
}

/* 64 random bits: browsers refuse two certificates of one issuer with the same number. */
static bool set_serial(X509 *cert)
{
    uint64_t serial;
    return RAND_bytes((unsigned char *)&serial, sizeof serial) == 1 &&
           ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), serial >> 1 | 1) == 1;
}

static bool set_names_of_holder(X509 *cert, const struct localcert_names *n)
{
    char local[80];
    local_name(n, local);
    const char *cn = local[0] != 0 ? local : "localhost";
    X509_NAME *name = X509_get_subject_name(cert);
    return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1,
                                      0) == 1 &&
           X509_set_issuer_name(cert, name) == 1;
}

enum err localcert_new(X509 **out, EVP_PKEY *key, const struct localcert_names *names,
                       int64_t now_s)
{
    X509 *cert = X509_new();
    if (cert == NULL)
        return ERR_NOMEM;
    if (now_s < ISSUED_CLOCK_FLOOR_S)
        now_s = ISSUED_CLOCK_FLOOR_S;
    time_t from = (time_t)(now_s - DAY_S), to = (time_t)(now_s - DAY_S + LIFE_S);
    enum err e = ERR_CRYPTO;
    if (X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) &&
        set_names_of_holder(cert, names) &&
        ASN1_TIME_set(X509_getm_notBefore(cert), from) != NULL &&
        ASN1_TIME_set(X509_getm_notAfter(cert), to) != NULL && X509_set_pubkey(cert, key) == 1 &&
        add_extensions(cert, names) && X509_sign(cert, key, EVP_sha256()) > 0) {
        *out = cert;
        cert = NULL;
        e = ERR_OK;
    }
    ERR_clear_error();
    X509_free(cert);
    return e;
}

static bool has_name(const GENERAL_NAMES *names, int type, const void *p, size_t len)
{
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *gn = sk_GENERAL_NAME_value(names, i);
        if (gn->type != type)
            continue;
        const ASN1_STRING *s = type == GEN_DNS ? gn->d.dNSName : gn->d.iPAddress;
        if ((size_t)ASN1_STRING_length(s) == len && memcmp(ASN1_STRING_get0_data(s), p, len) == 0)
            return true;
    }
    return false;
}

static bool has_names(const X509 *cert, const struct localcert_names *n)
{
    char local[80];
    local_name(n, local);
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    bool ok = names != NULL && (local[0] == 0 || has_name(names, GEN_DNS, local, strlen(local)));
    for (size_t i = 0; ok && i < n->n_addresses; i++)
        ok = has_name(names, GEN_IPADD, n->addresses[i].bytes, ip_len(&n->addresses[i]));
    GENERAL_NAMES_free(names);
    return ok;
}

bool localcert_suits(const X509 *cert, EVP_PKEY *key, const struct localcert_names *names,
                     int64_t now_s)
{
    int64_t from, to;
    if (EVP_PKEY_eq(X509_get0_pubkey(cert), key) != 1 || cert_validity(cert, &from, &to) != ERR_OK)
        return false;
    if (now_s >= ISSUED_CLOCK_FLOOR_S && (now_s < from || now_s > to - SPARE_S))
        return false;
    return has_names(cert, names);
}

enum err localcert_pin(EVP_PKEY *key, char out[LOCALCERT_PIN_LEN + 1])
{
    unsigned char *der = NULL, hash[SHA256_DIGEST_LENGTH];
    int len = i2d_PUBKEY(key, &der);
    if (len <= 0)
        return ERR_CRYPTO;
    (void)SHA256(der, (size_t)len, hash);
    OPENSSL_free(der);
    (void)EVP_EncodeBlock((unsigned char *)out, hash, sizeof hash);
    return ERR_OK;
}
