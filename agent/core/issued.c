#include "agent/core/issued.h"

#include <openssl/err.h>

#include "common/base/clock.h"
#include "common/base/span.h"
#include "common/pki/cert.h"

bool issued_names_match(const GENERAL_NAMES *names, const char *name)
{
    if (sk_GENERAL_NAME_num(names) != 1)
        return false;
    const GENERAL_NAME *gn = sk_GENERAL_NAME_value(names, 0);
    if (gn->type != GEN_DNS)
        return false;
    int len = ASN1_STRING_length(gn->d.dNSName);
    struct span found = { ASN1_STRING_get0_data(gn->d.dNSName), len > 0 ? (size_t)len : 0 };
    return span_is_nocase(found, name);
}

static enum err check_leaf(X509 *leaf, EVP_PKEY *key, const char *name, struct err_info *info)
{
    EVP_PKEY *its_key = X509_get0_pubkey(leaf);
    if (its_key == NULL || EVP_PKEY_eq(its_key, key) != 1)
        return err_set(info, ERR_CRYPTO, "the certificate is for another key than ours");
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    bool right = names != NULL && issued_names_match(names, name);
    GENERAL_NAMES_free(names);
    if (!right)
        return err_set(info, ERR_CRYPTO, "the certificate is not for %s alone", name);
    if (X509_check_ca(leaf) != 0)
        return err_set(info, ERR_CRYPTO, "the certificate is that of a CA");
    if ((X509_get_extended_key_usage(leaf) & XKU_SSL_SERVER) == 0)
        return err_set(info, ERR_CRYPTO, "the certificate is not meant for TLS servers");
    return ERR_OK;
}

static enum err check_dates(X509 *leaf, int64_t now_s, struct err_info *info)
{
    int64_t from, to;
    if (cert_validity(leaf, &from, &to) != ERR_OK || to <= from)
        return err_set(info, ERR_CRYPTO, "the certificate has no sensible dates");
    if (now_s >= ISSUED_CLOCK_FLOOR_S && now_s >= to) {
        char text[CLOCK_TEXT_MAX], now[CLOCK_TEXT_MAX];
        clock_format(to, text, sizeof text);
        clock_format(now_s, now, sizeof now);
        return err_set(info, ERR_RANGE,
                       "the certificate expired at %s (our clock says %s: is it right?)", text,
                       now);
    }
    return ERR_OK;
}

static enum err check_links(STACK_OF(X509) * chain, struct err_info *info)
{
    for (int i = 0; i + 1 < sk_X509_num(chain); i++) {
        X509 *cert = sk_X509_value(chain, i), *issuer = sk_X509_value(chain, i + 1);
        if (X509_check_issued(issuer, cert) != X509_V_OK || X509_check_ca(issuer) != 1 ||
            X509_verify(cert, X509_get0_pubkey(issuer)) != 1)
            return err_set(info, ERR_CRYPTO,
                           "certificate %d of the chain is not signed by the one after it", i + 1);
    }
    return ERR_OK;
}

enum err issued_check(STACK_OF(X509) * chain, EVP_PKEY *key, const char *name, int64_t now_s,
                      struct err_info *info)
{
    X509 *leaf = sk_X509_value(chain, 0);
    if (leaf == NULL)
        return err_set(info, ERR_CRYPTO, "the chain is empty");
    enum err e = check_leaf(leaf, key, name, info);
    if (e == ERR_OK)
        e = check_links(chain, info);
    if (e == ERR_OK)
        e = check_dates(leaf, now_s, info);
    ERR_clear_error();
    return e;
}
