#include "provisiond/core/csr.h"

#include <string.h>

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "common/pki/keyctx.h"
#include "provisiond/core/rsakey.h"

#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX (8 * CSR_RSA_BYTES_MAX)

struct refusal {
    const char **problem;
    struct err_info *info;
};

static enum err refuse(const struct refusal *r, const char *problem, enum err e, const char *why)
{
    *r->problem = problem;
    return err_set(r->info, e, "%s", why);
}

static bool only_space(const char *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (strchr(" \t\r\n", p[i]) == NULL || p[i] == 0)
            return false;
    return true;
}

static bool is_request_label(const char *label)
{
    return strcmp(label, PEM_STRING_X509_REQ) == 0 || strcmp(label, PEM_STRING_X509_REQ_OLD) == 0;
}

/* The one PEM block that `in` is made of; *der is freed with OPENSSL_free(). */
static enum err unwrap_pem(struct span in, unsigned char **der, long *len)
{
    enum err e = ERR_INVALID;
    char *label = NULL, *headers = NULL, *rest;
    unsigned char *data = NULL;
    if (in.len < 11 || memcmp(in.p, "-----BEGIN ", 11) != 0)
        return ERR_INVALID;
    BIO *bio = BIO_new_mem_buf(in.p, (int)in.len);
    if (bio == NULL)
        return ERR_NOMEM;
    if (PEM_read_bio(bio, &label, &headers, &data, len) != 1)
        goto out;
    long left = BIO_get_mem_data(bio, &rest);
    if (!is_request_label(label) || headers[0] != 0 || !only_space(rest, (size_t)left))
        goto out;
    *der = data;
    data = NULL;
    e = ERR_OK;
out:
    OPENSSL_free(label);
    OPENSSL_free(headers);
    OPENSSL_free(data);
    BIO_free_all(bio);
    return e;
}

/* One request and nothing after it, in the very bytes that DER allows for it, with a key that this
 * library context can read. */
static X509_REQ *parse_der(OSSL_LIB_CTX *library, const unsigned char *der, long len)
{
    const unsigned char *p = der;
    unsigned char *again = NULL;
    /* not X509_REQ_new_ex(), which has its key read in OpenSSL's own context */
    const ASN1_ITEM *kind = ASN1_ITEM_rptr(X509_REQ);
    X509_REQ *req = (X509_REQ *)ASN1_item_d2i_ex(NULL, &p, len, kind, library, NULL);
    if (req == NULL)
        return NULL;
    int n = i2d_X509_REQ(req, &again);
    bool same = p == der + len && n == len && memcmp(again, der, (size_t)n) == 0;
    OPENSSL_free(again);
    if (!same || X509_REQ_get_version(req) != X509_REQ_VERSION_1 ||
        X509_REQ_get0_pubkey(req) == NULL) {
        X509_REQ_free(req);
        return NULL;
    }
    return req;
}

static enum err parse(struct span in, X509_REQ **req, struct buf *der, const struct refusal *r)
{
    unsigned char *unwrapped = NULL;
    const unsigned char *p = in.p;
    long len = (long)in.len;
    if (in.len == 0 || in.p[0] != 0x30) {
        enum err e = unwrap_pem(in, &unwrapped, &len);
        if (e == ERR_NOMEM)
            return e;
        if (e != ERR_OK)
            return refuse(r, "csr-malformed", ERR_INVALID,
                          "not exactly one PKCS#10 certificate request in PEM or DER");
        p = unwrapped;
    }
    X509_REQ *parsed = parse_der(keyctx_get(), p, len);
    if (parsed == NULL) /* perhaps with a key of another kind, which is refused for that below */
        parsed = parse_der(NULL, p, len);
    if (parsed != NULL)
        buf_add(der, p, (size_t)len);
    OPENSSL_free(unwrapped);
    if (parsed == NULL)
        return refuse(r, "csr-malformed", ERR_INVALID, "not a well-formed PKCS#10 request");
    *req = parsed;
    return buf_error(der);
}

static enum err check_rsa(EVP_PKEY *key, struct csr_facts *out, const struct refusal *r)
{
    BIGNUM *n = NULL, *exponent = NULL;
    bool ok = EVP_PKEY_get_bits(key) >= RSA_BITS_MIN && EVP_PKEY_get_bits(key) <= RSA_BITS_MAX &&
              EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &n) == 1 &&
              EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &exponent) == 1 &&
              BN_is_word(exponent, RSA_F4);
    enum rsakey_flaw flaw = ok ? rsakey_check(n) : RSAKEY_SOUND;
    if (ok)
        out->rsa_modulus_len = (size_t)BN_bn2bin(n, out->rsa_modulus);
    BN_free(n);
    BN_free(exponent);
    if (flaw == RSAKEY_UNKNOWN)
        return ERR_NOMEM;
    if (!ok)
        return refuse(r, "csr-weak-key", ERR_RANGE,
                      "an RSA key must have 2048 to 4096 bits and the exponent 65537");
    if (flaw != RSAKEY_SOUND)
        return refuse(r, "csr-weak-key", ERR_RANGE,
                      flaw == RSAKEY_ROCA
                          ? "the RSA key was made by the library of CVE-2017-15361 (ROCA)"
                          : "the RSA key can be factored: make it with a sound generator");
    return ERR_OK;
}

static enum err check_ec(EVP_PKEY *key, const struct refusal *r)
{
    char group[32] = "", encoding[32] = "";
    bool ok = EVP_PKEY_get_group_name(key, group, sizeof group, NULL) == 1 &&
              (strcmp(group, SN_X9_62_prime256v1) == 0 || strcmp(group, SN_secp384r1) == 0) &&
              EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_EC_ENCODING, encoding,
                                             sizeof encoding, NULL) == 1 &&
              strcmp(encoding, OSSL_PKEY_EC_ENCODING_GROUP) == 0;
    return ok ? ERR_OK
              : refuse(r, "csr-weak-key", ERR_RANGE,
                       "an EC key must be on the named curve P-256 or P-384");
}

static enum err check_key(EVP_PKEY *key, struct csr_facts *out, const struct refusal *r)
{
    if (EVP_PKEY_is_a(key, "RSA"))
        return check_rsa(key, out, r);
    if (EVP_PKEY_is_a(key, "EC"))
        return check_ec(key, r);
    return refuse(r, "csr-weak-key", ERR_RANGE, "the key must be EC (P-256, P-384) or RSA");
}

static enum err check_signature(X509_REQ *req, EVP_PKEY *key, const struct refusal *r)
{
    int digest = NID_undef;
    (void)OBJ_find_sigid_algs(X509_REQ_get_signature_nid(req), &digest, NULL);
    if (digest != NID_sha256 && digest != NID_sha384 && digest != NID_sha512)
        return refuse(r, "csr-bad-signature", ERR_CRYPTO,
                      "the request must be signed with SHA-256, SHA-384 or SHA-512");
    if (X509_REQ_verify_ex(req, key, keyctx_get(), NULL) != 1)
        return refuse(r, "csr-bad-signature", ERR_CRYPTO,
                      "the request is not signed by the key in it");
    return ERR_OK;
}

/* Two lists of requested extensions would let us and the CA each read a different one. */
static bool has_one_extension_list(const X509_REQ *req)
{
    int n = 0;
    for (int i = 0; i < X509_REQ_get_attr_count(req); i++) {
        X509_ATTRIBUTE *attr = X509_REQ_get_attr(req, i);
        int nid = OBJ_obj2nid(X509_ATTRIBUTE_get0_object(attr));
        if (nid == NID_ext_req || nid == NID_ms_ext_req)
            n += X509_ATTRIBUTE_count(attr) == 1 ? 1 : 2;
    }
    return n <= 1;
}

static bool is_name(const ASN1_STRING *s, const char *name)
{
    return name != NULL && (size_t)ASN1_STRING_length(s) == strlen(name) &&
           memcmp(ASN1_STRING_get0_data(s), name, strlen(name)) == 0;
}

struct names {
    unsigned required, optional, foreign, other; /* how often each kind is there */
};

static void count_name(const struct csr_policy *policy, const GENERAL_NAME *gn, struct names *n)
{
    if (gn->type != GEN_DNS)
        n->other++;
    else if (is_name(gn->d.dNSName, policy->name_required))
        n->required++;
    else if (is_name(gn->d.dNSName, policy->name_optional))
        n->optional++;
    else
        n->foreign++;
}

static enum err judge_names(const struct names *n, struct csr_facts *out, const struct refusal *r)
{
    if (n->foreign > 0 && n->required == 0)
        return refuse(r, "csr-foreign-name", ERR_RANGE,
                      "the request is for a name that is not this device's");
    if (n->foreign > 0 || n->other > 0 || n->required > 1 || n->optional > 1)
        return refuse(r, "csr-extra-name", ERR_RANGE,
                      "the request has more names than this device's own");
    if (n->required == 0)
        return refuse(r, "csr-no-name", ERR_RANGE,
                      "the request does not have this device's wildcard name as a dNSName");
    out->has_optional = n->optional == 1;
    return ERR_OK;
}

static enum err check_extensions(const struct csr_policy *policy,
                                 const STACK_OF(X509_EXTENSION) * exts, struct csr_facts *out,
                                 const struct refusal *r)
{
    struct names n = { 0 };
    int found = -1;
    if (X509v3_get_ext_by_NID(exts, NID_tlsfeature, -1) >= 0)
        return refuse(r, "csr-must-staple", ERR_RANGE,
                      "the request asks for Must-Staple, which CAs no longer issue");
    GENERAL_NAMES *san = X509V3_get_d2i(exts, NID_subject_alt_name, &found, NULL);
    if (san == NULL && found != -1)
        return refuse(r, "csr-malformed", ERR_INVALID,
                      "the subjectAltName cannot be read, or is there twice");
    for (int i = 0; i < sk_GENERAL_NAME_num(san); i++)
        count_name(policy, sk_GENERAL_NAME_value(san, i), &n);
    GENERAL_NAMES_free(san);
    return judge_names(&n, out, r);
}

static enum err check_subject(const struct csr_policy *policy, const X509_REQ *req,
                              const struct refusal *r)
{
    X509_NAME *subject = X509_REQ_get_subject_name(req);
    for (int i = 0; i < X509_NAME_entry_count(subject); i++) {
        X509_NAME_ENTRY *entry = X509_NAME_get_entry(subject, i);
        const ASN1_STRING *value = X509_NAME_ENTRY_get_data(entry);
        int nid = OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry));
        if (nid == NID_pkcs9_emailAddress)
            return refuse(r, "csr-extra-name", ERR_RANGE, "the subject has an e-mail address");
        if (nid == NID_commonName && ASN1_STRING_length(value) > 0 &&
            !is_name(value, policy->name_required) && !is_name(value, policy->name_optional))
            return refuse(r, "csr-foreign-name", ERR_RANGE,
                          "the common name is not one of this device's names");
    }
    return ERR_OK;
}

static enum err check_names(const struct csr_policy *policy, X509_REQ *req, struct csr_facts *out,
                            const struct refusal *r)
{
    if (!has_one_extension_list(req))
        return refuse(r, "csr-malformed", ERR_INVALID, "several lists of requested extensions");
    STACK_OF(X509_EXTENSION) *exts = X509_REQ_get_extensions(req);
    enum err e = check_extensions(policy, exts, out, r);
    sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
    return e == ERR_OK ? check_subject(policy, req, r) : e;
}

static enum err check_all(const struct csr_policy *policy, X509_REQ *req, struct csr_facts *out,
                          const struct refusal *r)
{
    EVP_PKEY *key = X509_REQ_get0_pubkey(req);
    enum err e = check_names(policy, req, out, r);
    if (e == ERR_OK)
        e = check_key(key, out, r);
    if (e == ERR_OK)
        e = check_signature(req, key, r);
    if (e == ERR_OK)
        e = devid_pubkey_hash(out->spki_sha256, X509_REQ_get_X509_PUBKEY(req));
    if (e == ERR_OK && policy->identity_spki_sha256 != NULL &&
        memcmp(out->spki_sha256, policy->identity_spki_sha256, SPKI_HASH_LEN) == 0)
        e = refuse(r, "csr-identity-key", ERR_RANGE,
                   "the certificate key must be another key than the identity key");
    return e;
}

enum err csr_check(const struct csr_policy *policy, struct span pem_or_der, struct csr_facts *out,
                   const char **problem, struct err_info *info)
{
    struct refusal r = { problem, info };
    struct csr_facts facts = { .has_optional = false };
    X509_REQ *req = NULL;
    *problem = NULL;
    if (pem_or_der.len > CSR_MAX)
        return refuse(&r, "csr-too-large", ERR_LIMIT, "the request is larger than 16 KiB");
    buf_init(&facts.der, CSR_MAX);
    enum err e = parse(pem_or_der, &req, &facts.der, &r);
    if (e == ERR_OK)
        e = check_all(policy, req, &facts, &r);
    if (e == ERR_OK) {
        SHA256(facts.der.p, facts.der.len, facts.der_sha256);
        *out = facts;
        buf_init(&facts.der, CSR_MAX);
    }
    buf_clear(&facts.der);
    X509_REQ_free(req);
    ERR_clear_error(); /* what OpenSSL noted about bad input must not surface elsewhere */
    return e;
}
