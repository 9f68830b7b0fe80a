#include "common/pki/keyctx.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include <openssl/core_dispatch.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/provider.h>

#include "common/base/attr.h"

#define KEPT_MAX 8
#define SPKI "input=der,structure=SubjectPublicKeyInfo"

/* Operations of which this context has some algorithms only. The time that it takes to read a key
 * grows with the number of all algorithms that were ever used in its context. */
static const struct {
    int operation;
    const char *property; /* that they have, as the provider spells it */
    const char *names[KEPT_MAX];
} FEWER[] = {
    { OSSL_OP_DECODER, SPKI, { "EC", "RSA", "ED25519" } },
    { OSSL_OP_KEYMGMT, "", { "EC", "RSA", "ED25519", "RSA-PSS", "X25519" } },
    /* for TLS 1.3; SHA1 names certificates inside OpenSSL */
    { OSSL_OP_CIPHER, "", { "AES-128-GCM", "AES-256-GCM", "ChaCha20-Poly1305" } },
    { OSSL_OP_DIGEST, "", { "SHA1", "SHA2-256", "SHA2-384", "SHA2-512" } },
};

/* Written once, by make(): a library context is the process', not an object's. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static OSSL_PROVIDER *whole; /* the default provider, whose algorithms these are */
static OSSL_LIB_CTX *made;
static OSSL_ALGORITHM kept[ARRAY_LEN(FEWER)][KEPT_MAX + 1]; /* a row of zeros ends each */

/* Whether the first of an algorithm's names, as in "EC:id-ecPublicKey", is among them. */
static bool is_named(const OSSL_ALGORITHM *a, const char *const names[KEPT_MAX])
{
    size_t len = strcspn(a->algorithm_names, ":");
    for (size_t i = 0; i < KEPT_MAX && names[i] != NULL; i++)
        if (strlen(names[i]) == len && strncasecmp(a->algorithm_names, names[i], len) == 0)
            return true;
    return false;
}

static void keep(size_t row)
{
    int no_cache = 0;
    size_t n = 0;
    const OSSL_ALGORITHM *a = OSSL_PROVIDER_query_operation(whole, FEWER[row].operation, &no_cache);
    for (; a != NULL && a->algorithm_names != NULL && n < KEPT_MAX; a++) {
        if (is_named(a, FEWER[row].names) &&
            strstr(a->property_definition, FEWER[row].property) != NULL)
            kept[row][n++] = *a;
    }
}

static const OSSL_ALGORITHM *query(void *ctx, int operation, int *no_cache)
{
    (void)ctx;
    *no_cache = 0;
    for (size_t i = 0; i < ARRAY_LEN(FEWER); i++)
        if (FEWER[i].operation == operation)
            return kept[i];
    return OSSL_PROVIDER_query_operation(whole, operation, no_cache);
}

static int get_capabilities(void *ctx, const char *capability, OSSL_CALLBACK *fn, void *arg)
{
    (void)ctx;
    return OSSL_PROVIDER_get_capabilities(whole, capability, fn, arg);
}

/* Called by OpenSSL when it loads the provider: its algorithms run on the context of the whole. */
static int begin(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out,
                 void **ctx)
{
    static const OSSL_DISPATCH FUNCTIONS[] = {
        { OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))query },
        { OSSL_FUNC_PROVIDER_GET_CAPABILITIES, (void (*)(void))get_capabilities },
        { 0, NULL },
    };
    (void)handle;
    (void)in;
    *out = FUNCTIONS;
    *ctx = OSSL_PROVIDER_get0_provider_ctx(whole);
    return 1;
}

static void make(void)
{
    if (OSSL_PROVIDER_available(NULL, "default") != 1 ||
        EVP_default_properties_is_fips_enabled(NULL) == 1)
        return;
    whole = OSSL_PROVIDER_load(NULL, "default");
    OSSL_LIB_CTX *ctx = OSSL_LIB_CTX_new();
    if (whole == NULL || ctx == NULL)
        goto out;
    for (size_t i = 0; i < ARRAY_LEN(FEWER); i++)
        keep(i);
    if (OSSL_PROVIDER_add_builtin(ctx, "lanyard", begin) != 1 ||
        OSSL_PROVIDER_load(ctx, "lanyard") == NULL)
        goto out;
    made = ctx;
    ctx = NULL;
out:
    OSSL_LIB_CTX_free(ctx);
}

OSSL_LIB_CTX *keyctx_get(void)
{
    (void)pthread_once(&once, make);
    return made;
}
