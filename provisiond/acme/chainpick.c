#include "provisiond/acme/chainpick.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "common/pki/cert.h"

#define SCHEME_LEN 8 /* "https://" */
#define NAME_MAX_LEN 256

bool chainpick_alternate(const char *link, const char *base, char out[ISSUER_URL_MAX])
{
    const char *from = strchr(link, '<'), *to = from == NULL ? NULL : strchr(from, '>');
    const char *rel = to == NULL ? NULL : strcasestr(to, "rel=");
    if (rel == NULL)
        return false;
    rel += strlen("rel=");
    rel += *rel == '"';
    size_t rel_len = strlen("alternate");
    if (strncasecmp(rel, "alternate", rel_len) != 0 || isalnum((unsigned char)rel[rel_len]))
        return false;
    int len = (int)(to - from - 1), origin = 0;
    if (from[1] == '/') { /* libcurl keeps to https, and `base` is https */
        const char *host_end = strlen(base) > SCHEME_LEN ? strchr(base + SCHEME_LEN, '/') : NULL;
        origin = host_end == NULL ? (int)strlen(base) : (int)(host_end - base);
    }
    int n = snprintf(out, ISSUER_URL_MAX, "%.*s%.*s", origin, base, len, from + 1);
    return n > 0 && n < ISSUER_URL_MAX;
}

static bool name_is(const X509 *top, const char *wanted)
{
    char name[NAME_MAX_LEN];
    X509_NAME *issuer = X509_get_issuer_name(top);
    int len =
        issuer == NULL ? -1 : X509_NAME_get_text_by_NID(issuer, NID_commonName, name, sizeof name);
    return len > 0 && (size_t)len == strlen(name) && strcmp(name, wanted) == 0;
}

static bool key_id_is(X509 *top, const char *wanted)
{
    const ASN1_OCTET_STRING *id = X509_get0_authority_key_id(top);
    if (id == NULL)
        return false;
    const unsigned char *p = ASN1_STRING_get0_data(id);
    for (int i = 0; i < ASN1_STRING_length(id); i++) {
        char pair[3];
        (void)snprintf(pair, sizeof pair, "%02x", p[i]);
        wanted += *wanted == ':';
        if (strncasecmp(wanted, pair, 2) != 0)
            return false;
        wanted += 2;
    }
    return *wanted == 0;
}

bool chainpick_matches(struct span pem, const char *wanted)
{
    STACK_OF(X509) *chain = NULL;
    bool matches = false;
    if (cert_chain_parse(&chain, pem, NULL) == ERR_OK) {
        X509 *top = sk_X509_value(chain, sk_X509_num(chain) - 1);
        matches = name_is(top, wanted) || key_id_is(top, wanted);
    }
    sk_X509_pop_free(chain, X509_free);
    ERR_clear_error();
    return matches;
}
