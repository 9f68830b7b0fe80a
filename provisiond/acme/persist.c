#include "provisiond/acme/persist.h"

#include <stdio.h>
#include <string.h>

#include <openssl/sha.h>

#include "common/base/b64url.h"
#include "common/base/buf.h"

/* What stands for any domain name in the hash, behind its length. */
#define ANY_NAME "\001*"

enum err persist_uri(char out[ISSUER_URL_MAX], const char *hash_prefix, const char *thumbprint,
                     const char *account_url)
{
    uint8_t hash[SHA256_DIGEST_LENGTH];
    char text[B64URL_LEN(sizeof hash) + 1] = "", input[ISSUER_URL_MAX + 64];
    int n = 0;
    if (hash_prefix[0] == 0) {
        n = snprintf(out, ISSUER_URL_MAX, "%s", account_url);
    } else {
        int len = snprintf(input, sizeof input, ANY_NAME "%s%s", thumbprint, account_url);
        if (len < 0 || (size_t)len >= sizeof input)
            return ERR_LIMIT;
        SHA256((const uint8_t *)input, (size_t)len, hash);
        b64url_encode((struct span){ hash, sizeof hash }, text);
        n = snprintf(out, ISSUER_URL_MAX, "%ssha-256/%s", hash_prefix, text);
    }
    return n < 0 || n >= ISSUER_URL_MAX ? ERR_LIMIT : ERR_OK;
}

enum err persist_record(char out[ISSUER_TXT_MAX], const char *domain, const char *uri)
{
    int n = snprintf(out, ISSUER_TXT_MAX, "%s; accounturi=%s; policy=wildcard", domain, uri);
    return n < 0 || n >= ISSUER_TXT_MAX ? ERR_LIMIT : ERR_OK;
}
