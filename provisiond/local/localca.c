#include "provisiond/local/localca.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "common/base/file.h"
#include "common/base/secret.h"
#include "common/pki/cert.h"
#include "common/pki/devid.h"
#include "common/pki/key.h"

#define DAY_S ((int64_t)86400)
#define ROOT_LIFE_S (3650 * DAY_S)
#define INTERMEDIATE_LIFE_S (1825 * DAY_S)
#define CA_BACKDATE_S DAY_S /* so that a client with a slow clock can use it at once */
#define LEAF_BACKDATE_S 300
#define SERIAL_BYTES 16

/* A key, its certificate, and the file that the certificate is in. */
struct authority {
    EVP_PKEY *key;
    X509 *cert;
    char *cert_path;
};

struct localca {
    char *dir;
    struct authority root, intermediate;
};

/* One extension for add_extensions(); the values are literals, never text from outside. */
struct extension {
    int nid;
    const char *value;
};

static const struct extension ROOT_EXTENSIONS[] = {
    { NID_basic_constraints, "critical,CA:TRUE" },
    { NID_key_usage, "critical,keyCertSign,cRLSign" },
    { NID_subject_key_identifier, "hash" },
    { 0, NULL },
};

static const struct extension INTERMEDIATE_EXTENSIONS[] = {
    { NID_basic_constraints, "critical,CA:TRUE,pathlen:0" },
    { NID_key_usage, "critical,keyCertSign,cRLSign" },
    { NID_subject_key_identifier, "hash" },
    { NID_authority_key_identifier, "keyid:always" },
    { 0, NULL },
};

static const struct extension LEAF_EXTENSIONS[] = {
    { NID_basic_constraints, "critical,CA:FALSE" },
    { NID_key_usage, "critical,digitalSignature" },
    { NID_ext_key_usage, "serverAuth" },
    { NID_subject_key_identifier, "hash" },
    { NID_authority_key_identifier, "keyid:always" },
    { 0, NULL },
};

static bool add_extensions(X509 *cert, X509 *issuer, const struct extension *list)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509V3_set_ctx_nodb(&ctx);
    for (; list->value != NULL; list++) {
        X509_EXTENSION *ext = X509V3_EXT_nconf_nid(NULL, &ctx, list->nid, list->value);
        bool ok = ext != NULL && X509_add_ext(cert, ext, -1) == 1;
        X509_EXTENSION_free(ext);
        if (!ok)
            return false;
    }
    return true;
}

/* One distribution point by its URL, which is no text for OpenSSL's configuration language: a comma
 * would have a meaning there. [RFC 5280 s4.2.1.13] */
static bool add_crl_url(X509 *cert, const char *url)
{
    STACK_OF(DIST_POINT) *list = sk_DIST_POINT_new_null();
    DIST_POINT *point = DIST_POINT_new();
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *uri = ASN1_IA5STRING_new();
    bool ok = false;
    if (list == NULL || point == NULL || name == NULL || uri == NULL ||
        ASN1_STRING_set(uri, url, -1) != 1 || (point->distpoint = DIST_POINT_NAME_new()) == NULL ||
        (point->distpoint->name.fullname = GENERAL_NAMES_new()) == NULL)
        goto out;
    point->distpoint->type = 0; /* fullName */
    GENERAL_NAME_set0_value(name, GEN_URI, uri);
    uri = NULL;
    if (sk_GENERAL_NAME_push(point->distpoint->name.fullname, name) == 0)
        goto out;
    name = NULL;
    if (sk_DIST_POINT_push(list, point) == 0)
        goto out;
    point = NULL;
    ok = X509_add1_ext_i2d(cert, NID_crl_distribution_points, list, 0, 0) == 1;
out:
    ASN1_IA5STRING_free(uri);
    GENERAL_NAME_free(name);
    DIST_POINT_free(point);
    sk_DIST_POINT_pop_free(list, DIST_POINT_free);
    return ok;
}

static bool set_serial(X509 *cert)
{
    uint8_t bytes[SERIAL_BYTES];
    secret_random(bytes, sizeof bytes);
    bytes[0] = (uint8_t)((bytes[0] & 0x7f) | 0x40); /* positive, and never short */
    BIGNUM *n = BN_bin2bn(bytes, sizeof bytes, NULL);
    bool ok = n != NULL && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert)) != NULL;
    BN_free(n);
    return ok;
}

static bool set_times(X509 *cert, int64_t from_s, int64_t to_s)
{
    return ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)from_s) != NULL &&
           ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)to_s) != NULL;
}

/* "Lanyard local root 1a2b3c4d": by the key, so that two authorities never share a name, and the
 * same one keeps its own when it is renewed. */
static bool set_ca_name(X509_NAME *name, const char *role, EVP_PKEY *key)
{
    uint8_t h[SPKI_HASH_LEN];
    char text[64];
    if (devid_spki_hash(h, key) != ERR_OK)
        return false;
    (void)snprintf(text, sizeof text, "Lanyard local %s %02x%02x%02x%02x", role, h[0], h[1], h[2],
                   h[3]);
    return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)text, -1, -1,
                                      0) == 1;
}

/* A certificate for `self` by `issuer`; they are the same for a root. */
static enum err make_ca_cert(X509 **out, const char *role, const struct authority *self,
                             const struct authority *issuer, int64_t now_s)
{
    bool is_root = self == issuer;
    int64_t to_s = now_s + (is_root ? ROOT_LIFE_S : INTERMEDIATE_LIFE_S), from, issuer_end;
    enum err e = ERR_CRYPTO;
    X509 *cert = X509_new();
    if (cert == NULL)
        return ERR_NOMEM;
    if (!is_root) {
        if (cert_validity(issuer->cert, &from, &issuer_end) != ERR_OK)
            goto out;
        to_s = to_s < issuer_end ? to_s : issuer_end;
    }
    X509_NAME *name = X509_get_subject_name(cert);
    if (X509_set_version(cert, X509_VERSION_3) != 1 || !set_serial(cert) ||
        !set_times(cert, now_s - CA_BACKDATE_S, to_s) || !set_ca_name(name, role, self->key) ||
        X509_set_issuer_name(cert, is_root ? name : X509_get_subject_name(issuer->cert)) != 1 ||
        X509_set_pubkey(cert, self->key) != 1 ||
        !add_extensions(cert, is_root ? cert : issuer->cert,
                        is_root ? ROOT_EXTENSIONS : INTERMEDIATE_EXTENSIONS) ||
        X509_sign(cert, issuer->key, EVP_sha256()) <= 0)
        goto out;
    *out = cert;
    cert = NULL;
    e = ERR_OK;
out:
    X509_free(cert);
    return e;
}

static enum err load_cert(X509 **out, const char *path, struct err_info *info)
{
    STACK_OF(X509) *chain = NULL;
    struct buf pem;
    buf_init(&pem, CERT_PEM_MAX);
    enum err e = file_read(path, &pem, info);
    if (e == ERR_OK) {
        e = cert_chain_parse(&chain, buf_span(&pem), info);
        if (e != ERR_OK)
            e = err_prefix(info, e, "%s: ", path);
    }
    if (e == ERR_OK)
        *out = sk_X509_shift(chain);
    sk_X509_pop_free(chain, X509_free);
    buf_clear(&pem);
    return e;
}

static enum err store_cert(X509 *cert, const char *path, bool replace, struct err_info *info)
{
    struct buf pem;
    buf_init(&pem, CERT_PEM_MAX);
    enum err e = cert_to_pem(cert, &pem);
    if (e == ERR_OK)
        e = replace ? file_write_atomic(path, buf_span(&pem), 0644, info)
                    : file_create_atomic(path, buf_span(&pem), 0644, info);
    buf_clear(&pem);
    return e;
}

static bool is_due(X509 *cert, int64_t now_s)
{
    int64_t from, to;
    return cert_validity(cert, &from, &to) != ERR_OK || now_s < from ||
           now_s > from + (to - from) / 2;
}

/* Makes the certificate of `self` where there is none or it is due, and leaves in self->cert what
 * is in the file then: another process may have been first. */
static enum err ensure_cert(struct authority *self, const char *role,
                            const struct authority *issuer, int64_t now_s, struct err_info *info)
{
    X509 *cert = NULL, *fresh = NULL;
    enum err e = load_cert(&cert, self->cert_path, info);
    bool renew = e == ERR_OK && is_due(cert, now_s);
    if (e == ERR_NOTFOUND || renew) {
        e = make_ca_cert(&fresh, role, self, issuer, now_s);
        if (e == ERR_OK)
            e = store_cert(fresh, self->cert_path, renew, info);
        else
            (void)err_set(info, e, "cannot make %s", self->cert_path);
        if (e == ERR_OK || e == ERR_EXISTS) {
            X509_free(cert);
            cert = NULL;
            e = load_cert(&cert, self->cert_path, info);
        }
    }
    if (e == ERR_OK && X509_check_private_key(cert, self->key) != 1)
        e = err_set(info, ERR_CRYPTO, "%s does not belong to the key beside it", self->cert_path);
    if (e == ERR_OK) {
        X509_free(self->cert);
        self->cert = cert;
        cert = NULL;
    }
    X509_free(cert);
    X509_free(fresh);
    ERR_clear_error();
    return e;
}

static enum err refresh(struct localca *ca, int64_t now_s, struct err_info *info)
{
    enum err e = ensure_cert(&ca->root, "root", &ca->root, now_s, info);
    if (e == ERR_OK)
        e = ensure_cert(&ca->intermediate, "intermediate", &ca->root, now_s, info);
    return e;
}

static enum err authority_init(struct authority *a, const char *dir, const char *role,
                               struct err_info *info)
{
    char key_path[PATH_MAX];
    int n = snprintf(key_path, sizeof key_path, "%s/%s.key", dir, role);
    if (n < 0 || (size_t)n >= sizeof key_path)
        return err_set(info, ERR_LIMIT, "path too long: %s", dir);
    if (asprintf(&a->cert_path, "%s/%s.pem", dir, role) < 0) {
        a->cert_path = NULL;
        return ERR_NOMEM;
    }
    return key_load_or_make(&a->key, key_path, KEY_P256, info);
}

static void authority_clear(struct authority *a)
{
    EVP_PKEY_free(a->key);
    X509_free(a->cert);
    free(a->cert_path);
}

enum err localca_open(struct localca **out, const char *dir, int64_t now_s, struct err_info *info)
{
    struct localca *ca = calloc(1, sizeof *ca);
    if (ca == NULL || (ca->dir = strdup(dir)) == NULL) {
        free(ca);
        return ERR_NOMEM;
    }
    enum err e = file_make_dir(dir, 0700, info);
    if (e == ERR_OK)
        e = authority_init(&ca->root, dir, "root", info);
    if (e == ERR_OK)
        e = authority_init(&ca->intermediate, dir, "intermediate", info);
    if (e == ERR_OK)
        e = refresh(ca, now_s, info);
    if (e == ERR_OK) {
        *out = ca;
        ca = NULL;
    }
    localca_free(ca);
    return e;
}

void localca_free(struct localca *ca)
{
    if (ca == NULL)
        return;
    authority_clear(&ca->root);
    authority_clear(&ca->intermediate);
    free(ca->dir);
    free(ca);
}

const char *localca_root_path(const struct localca *ca)
{
    return ca->root.cert_path;
}

const char *localca_dir(const struct localca *ca)
{
    return ca->dir;
}

/* NULL for text that is neither an address nor printable ASCII without spaces. */
static GENERAL_NAME *make_name(const char *text)
{
    GENERAL_NAME *gn = GENERAL_NAME_new();
    ASN1_OCTET_STRING *ip = a2i_IPADDRESS(text);
    if (gn != NULL && ip != NULL) {
        GENERAL_NAME_set0_value(gn, GEN_IPADD, ip);
        return gn;
    }
    ASN1_OCTET_STRING_free(ip);
    ASN1_IA5STRING *dns = ASN1_IA5STRING_new();
    size_t len = strlen(text);
    bool ok = gn != NULL && dns != NULL && len > 0 && len <= 253;
    for (size_t i = 0; ok && i < len; i++)
        ok = text[i] > ' ' && text[i] < 127;
    if (!ok || ASN1_STRING_set(dns, text, (int)len) != 1) {
        ASN1_IA5STRING_free(dns);
        GENERAL_NAME_free(gn);
        return NULL;
    }
    GENERAL_NAME_set0_value(gn, GEN_DNS, dns);
    return gn;
}

/* The subject is left empty, so the names are critical. [RFC 5280 s4.2.1.6] */
static enum err add_names(X509 *cert, const struct localca_leaf *leaf, struct err_info *info)
{
    enum err e = ERR_OK;
    GENERAL_NAMES *san = sk_GENERAL_NAME_new_null();
    if (san == NULL || leaf->n_names == 0)
        e = err_set(info, ERR_INVALID, "no name to issue a certificate for");
    for (size_t i = 0; e == ERR_OK && i < leaf->n_names; i++) {
        GENERAL_NAME *gn = make_name(leaf->names[i]);
        if (gn == NULL)
            e = err_set(info, ERR_INVALID, "neither a DNS name nor an IP address: %s",
                        leaf->names[i]);
        else if (sk_GENERAL_NAME_push(san, gn) <= 0) {
            GENERAL_NAME_free(gn);
            e = ERR_NOMEM;
        }
    }
    if (e == ERR_OK && X509_add1_ext_i2d(cert, NID_subject_alt_name, san, 1, 0) != 1)
        e = ERR_CRYPTO;
    sk_GENERAL_NAME_pop_free(san, GENERAL_NAME_free);
    return e;
}

static enum err make_leaf(struct localca *ca, EVP_PKEY *key, const struct localca_leaf *leaf,
                          X509 **out, struct err_info *info)
{
    int64_t from, issuer_end, to_s = leaf->now_s + leaf->life_s;
    X509 *cert = NULL;
    enum err e = ERR_OK;
    if (is_due(ca->root.cert, leaf->now_s) || is_due(ca->intermediate.cert, leaf->now_s))
        e = refresh(ca, leaf->now_s, info);
    if (e == ERR_OK)
        e = cert_validity(ca->intermediate.cert, &from, &issuer_end);
    if (e != ERR_OK)
        return e;
    cert = X509_new();
    if (cert == NULL)
        return ERR_NOMEM;
    e = add_names(cert, leaf, info);
    if (e != ERR_OK)
        goto out;
    if (X509_set_version(cert, X509_VERSION_3) != 1 || !set_serial(cert) ||
        !set_times(cert, leaf->now_s - LEAF_BACKDATE_S, to_s < issuer_end ? to_s : issuer_end) ||
        X509_set_issuer_name(cert, X509_get_subject_name(ca->intermediate.cert)) != 1 ||
        X509_set_pubkey(cert, key) != 1 ||
        !add_extensions(cert, ca->intermediate.cert, LEAF_EXTENSIONS) ||
        (leaf->crl_url != NULL && !add_crl_url(cert, leaf->crl_url)) ||
        X509_sign(cert, ca->intermediate.key, EVP_sha256()) <= 0) {
        e = err_set(info, ERR_CRYPTO, "the local CA cannot sign a certificate");
        goto out;
    }
    *out = cert;
    cert = NULL;
out:
    X509_free(cert);
    ERR_clear_error();
    return e;
}

X509 *localca_signer(const struct localca *ca)
{
    return ca->intermediate.cert;
}

EVP_PKEY *localca_signing_key(const struct localca *ca)
{
    return ca->intermediate.key;
}

enum err localca_issue(struct localca *ca, EVP_PKEY *key, const struct localca_leaf *leaf,
                       struct buf *pem, struct err_info *info)
{
    X509 *cert = NULL;
    enum err e = make_leaf(ca, key, leaf, &cert, info);
    if (e == ERR_OK)
        e = cert_to_pem(cert, pem);
    if (e == ERR_OK)
        e = cert_to_pem(ca->intermediate.cert, pem);
    X509_free(cert);
    return e;
}

enum err localca_server_cert(struct localca *ca, const struct localca_leaf *leaf, EVP_PKEY **key,
                             STACK_OF(X509) * *chain, struct err_info *info)
{
    EVP_PKEY *fresh = NULL;
    STACK_OF(X509) *made = NULL;
    struct buf pem;
    buf_init(&pem, CERT_PEM_MAX);
    enum err e = key_new(&fresh, KEY_P256);
    if (e == ERR_OK)
        e = localca_issue(ca, fresh, leaf, &pem, info);
    if (e == ERR_OK)
        e = cert_chain_parse(&made, buf_span(&pem), info);
    if (e == ERR_OK) {
        *key = fresh;
        *chain = made;
        fresh = NULL;
    }
    EVP_PKEY_free(fresh);
    buf_clear(&pem);
    return e;
}
