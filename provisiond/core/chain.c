#include "provisiond/core/chain.h"

#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "common/base/b64url.h"
#include "common/pki/cert.h"
#include "common/pki/keyctx.h"

#define SKEW_S 3600 /* that the CA's clock may be ahead of ours */
#define LIFE_MIN_S 60
#define NAMES_MAX 16 /* in a leaf: more cannot be ours */
#define ARI_BYTES_MAX 40

static enum err check_key(X509 *leaf, const struct chain_expect *expect, struct err_info *info)
{
    uint8_t hash[SPKI_HASH_LEN];
    if (devid_pubkey_hash(hash, X509_get_X509_PUBKEY(leaf)) != ERR_OK)
        return err_set(info, ERR_CRYPTO, "the certificate has no key that can be read");
    if (memcmp(hash, expect->spki_sha256, sizeof hash) != 0)
        return err_set(info, ERR_CRYPTO, "the certificate is for another key than the request");
    return ERR_OK;
}

static bool is_dns_name(const GENERAL_NAME *gn, const char *name)
{
    if (gn->type != GEN_DNS)
        return false;
    struct span s = { ASN1_STRING_get0_data(gn->d.dNSName),
                      (size_t)ASN1_STRING_length(gn->d.dNSName) };
    return span_is_nocase(s, name);
}

/* Each expected name is there once, and there is nothing else. */
static bool names_match(const GENERAL_NAMES *san, const struct chain_expect *expect)
{
    int n = sk_GENERAL_NAME_num(san);
    if (n < 1 || n > NAMES_MAX || (size_t)n != expect->n_names)
        return false;
    for (size_t want = 0; want < expect->n_names; want++) {
        bool found = false;
        for (int i = 0; i < n && !found; i++)
            found = is_dns_name(sk_GENERAL_NAME_value(san, i), expect->names[want]);
        if (!found)
            return false;
    }
    return true;
}

static enum err check_names(X509 *leaf, const struct chain_expect *expect, struct err_info *info)
{
    GENERAL_NAMES *san = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    bool match = names_match(san, expect);
    GENERAL_NAMES_free(san);
    return match ? ERR_OK
                 : err_set(info, ERR_RANGE, "the certificate's names are not those of the request");
}

static enum err check_dates(X509 *leaf, const struct chain_expect *expect, struct chain_facts *out,
                            struct err_info *info)
{
    int64_t from, to;
    if (cert_validity(leaf, &from, &to) != ERR_OK)
        return err_set(info, ERR_INVALID, "the certificate's dates cannot be read");
    if (to - from < LIFE_MIN_S)
        return err_set(info, ERR_RANGE, "the certificate lives for less than %d seconds",
                       LIFE_MIN_S);
    if (from > expect->now_s + SKEW_S)
        return err_set(info, ERR_RANGE,
                       "the certificate is not valid yet: is this machine's clock right?");
    if (to <= expect->now_s)
        return err_set(info, ERR_RANGE,
                       "the certificate has expired: is this machine's clock right?");
    out->not_before_s = from;
    out->not_after_s = to;
    return ERR_OK;
}

static enum err check_use(X509 *leaf, struct err_info *info)
{
    if (X509_check_ca(leaf) != 0)
        return err_set(info, ERR_RANGE, "the first certificate of the chain is a CA's");
    if ((X509_get_extended_key_usage(leaf) & XKU_SSL_SERVER) == 0)
        return err_set(info, ERR_RANGE, "the certificate is not for TLS servers");
    return ERR_OK;
}

static enum err check_link(X509 *cert, X509 *issuer, int64_t now_s, int depth,
                           struct err_info *info)
{
    int64_t from, to;
    EVP_PKEY *key = X509_get0_pubkey(issuer);
    if (X509_check_ca(issuer) == 0 || X509_check_issued(issuer, cert) != X509_V_OK || key == NULL ||
        X509_verify(cert, key) != 1)
        return err_set(info, ERR_CRYPTO,
                       "certificate %d of the chain was not issued by the one after it", depth + 1);
    if (cert_validity(issuer, &from, &to) != ERR_OK || from > now_s + SKEW_S || to <= now_s)
        return err_set(info, ERR_RANGE, "certificate %d of the chain is not valid now", depth + 2);
    return ERR_OK;
}

static enum err check_links(const STACK_OF(X509) * chain, int64_t now_s, struct err_info *info)
{
    enum err e = ERR_OK;
    for (int i = 0; e == ERR_OK && i + 1 < sk_X509_num(chain); i++)
        e = check_link(sk_X509_value(chain, i), sk_X509_value(chain, i + 1), now_s, i, info);
    return e;
}

/* The content bytes of the serial number's DER: OpenSSL drops the 00 that keeps it positive. */
static size_t serial_content(const X509 *cert, uint8_t *out, size_t cap)
{
    const ASN1_INTEGER *serial = X509_get0_serialNumber(cert);
    const uint8_t *p = ASN1_STRING_get0_data(serial);
    size_t len = (size_t)ASN1_STRING_length(serial), pad = len > 0 && (p[0] & 0x80) != 0 ? 1 : 0;
    if (len == 0 || len + pad > cap)
        return 0;
    out[0] = 0;
    memcpy(out + pad, p, len);
    return len + pad;
}

static void make_ari_id(X509 *leaf, char out[CHAIN_ARI_ID_MAX])
{
    uint8_t serial[ARI_BYTES_MAX];
    size_t n = serial_content(leaf, serial, sizeof serial);
    const ASN1_OCTET_STRING *aki = X509_get0_authority_key_id(leaf);
    out[0] = 0;
    if (aki == NULL || n == 0)
        return;
    struct span key_id = { ASN1_STRING_get0_data(aki), (size_t)ASN1_STRING_length(aki) };
    if (key_id.len == 0 || B64URL_LEN(key_id.len) + 1 + B64URL_LEN(n) >= CHAIN_ARI_ID_MAX)
        return;
    b64url_encode(key_id, out);
    size_t dot = strlen(out);
    out[dot] = '.';
    b64url_encode((struct span){ serial, n }, out + dot + 1);
}

static enum err check_leaf(X509 *leaf, const struct chain_expect *expect, struct chain_facts *out,
                           struct err_info *info)
{
    enum err e = check_key(leaf, expect, info);
    if (e == ERR_OK)
        e = check_names(leaf, expect, info);
    if (e == ERR_OK)
        e = check_dates(leaf, expect, out, info);
    if (e == ERR_OK)
        e = check_use(leaf, info);
    if (e == ERR_OK && cert_serial_hex(leaf, out->serial, sizeof out->serial) != ERR_OK)
        e = err_set(info, ERR_RANGE, "the certificate's serial number is too long");
    if (e == ERR_OK)
        make_ari_id(leaf, out->ari_id);
    return e;
}

static enum err rewrite(const STACK_OF(X509) * chain, struct chain_facts *out)
{
    enum err e = ERR_OK;
    for (int i = 0; e == ERR_OK && i < sk_X509_num(chain); i++)
        e = cert_to_pem(sk_X509_value(chain, i), &out->pem);
    out->n_certs = (size_t)sk_X509_num(chain);
    return e;
}

/* The first PEM block, with what stands before it. */
static struct span first_block(struct span pem)
{
    static const char END[] = "-----END ";
    const uint8_t *end = memmem(pem.p, pem.len, END, sizeof END - 1);
    const uint8_t *line = end != NULL ? memchr(end, '\n', (size_t)(pem.p + pem.len - end)) : NULL;
    return line != NULL ? (struct span){ pem.p, (size_t)(line + 1 - pem.p) } : pem;
}

void chain_above_clear(struct chain_above *above)
{
    if (above->certs == NULL)
        return;
    sk_X509_pop_free(above->certs, X509_free);
    above->certs = NULL;
    buf_clear(&above->pem);
}

static enum err above_read(struct chain_above *above, struct span pem, struct err_info *info)
{
    STACK_OF(X509) *certs = NULL;
    if (above->certs != NULL && span_equal(buf_span(&above->pem), pem))
        return ERR_OK;
    enum err e = cert_chain_parse(&certs, pem, info);
    if (e != ERR_OK)
        return e;
    chain_above_clear(above);
    above->certs = certs;
    buf_init(&above->pem, CERT_PEM_MAX);
    buf_add_span(&above->pem, pem);
    e = buf_error(&above->pem);
    if (e != ERR_OK)
        chain_above_clear(above);
    return e;
}

static enum err append(STACK_OF(X509) * chain, const STACK_OF(X509) * more, struct err_info *info)
{
    if (sk_X509_num(chain) + sk_X509_num(more) > CERT_CHAIN_MAX)
        return err_set(info, ERR_LIMIT, "more than %d certificates in the chain", CERT_CHAIN_MAX);
    for (int i = 0; i < sk_X509_num(more); i++) {
        X509 *cert = sk_X509_value(more, i);
        if (sk_X509_push(chain, cert) <= 0)
            return ERR_NOMEM;
        (void)X509_up_ref(cert);
    }
    return ERR_OK;
}

static enum err read_leaf(struct span pem, STACK_OF(X509) * *out, struct err_info *info)
{
    enum err e = ERR_NOMEM;
    BIO *bio = BIO_new_mem_buf(pem.len > 0 ? (const void *)pem.p : "", (int)pem.len);
    X509 *leaf = X509_new_ex(keyctx_get(), NULL);
    STACK_OF(X509) *chain = sk_X509_new_null();
    if (bio == NULL || leaf == NULL || chain == NULL)
        goto out;
    if (PEM_read_bio_X509(bio, &leaf, NULL, NULL) == NULL) {
        e = err_set(info, ERR_INVALID, "not a PEM certificate chain");
        goto out;
    }
    if (sk_X509_push(chain, leaf) <= 0)
        goto out;
    leaf = NULL; /* the chain's */
    *out = chain;
    chain = NULL;
    e = ERR_OK;
out:
    sk_X509_free(chain);
    X509_free(leaf);
    BIO_free_all(bio);
    return e;
}

/* The leaf is read each time, what is above it when it is not what it was. */
static enum err read_chain(struct span pem, struct chain_above *above, STACK_OF(X509) * *out,
                           struct err_info *info)
{
    static const char BEGIN[] = "-----BEGIN ";
    if (pem.len > CERT_PEM_MAX)
        return err_set(info, ERR_LIMIT, "the chain is larger than %d bytes", CERT_PEM_MAX);
    struct span leaf = first_block(pem), rest = { pem.p + leaf.len, pem.len - leaf.len };
    enum err e = read_leaf(leaf, out, info);
    if (e != ERR_OK || memmem(rest.p, rest.len, BEGIN, sizeof BEGIN - 1) == NULL)
        return e;
    e = above_read(above, rest, info);
    return e == ERR_OK ? append(*out, above->certs, info) : e;
}

enum err chain_check(struct span pem, const struct chain_expect *expect, struct chain_facts *out,
                     struct err_info *info)
{
    STACK_OF(X509) *chain = NULL;
    struct chain_facts facts = { .n_certs = 0 };
    buf_init(&facts.pem, CERT_PEM_MAX);
    enum err e = read_chain(pem, expect->above, &chain, info);
    if (e == ERR_OK)
        e = check_leaf(sk_X509_value(chain, 0), expect, &facts, info);
    if (e == ERR_OK)
        e = check_links(chain, expect->now_s, info);
    if (e == ERR_OK)
        e = rewrite(chain, &facts);
    if (e == ERR_OK) {
        *out = facts;
        buf_init(&facts.pem, CERT_PEM_MAX);
    }
    buf_clear(&facts.pem);
    sk_X509_pop_free(chain, X509_free);
    ERR_clear_error(); /* what OpenSSL noted about bad input must not surface elsewhere */
    return e;
}
