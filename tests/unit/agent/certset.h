/* certset.h - what the tests of the agent's store share: sets to store, and a look at what is
 * there.
 */
#ifndef LANYARD_TESTS_AGENT_CERTSET_H
#define LANYARD_TESTS_AGENT_CERTSET_H

#include <stdbool.h>

#include <openssl/pem.h>
#include <openssl/pkcs12.h>

#include "agent/certstore.h"
#include "agent/core/csr.h"
#include "agent/forms.h"
#include "common/base/file.h"
#include "common/pki/cert.h"
#include "common/pki/key.h"
#include "tests/lib/testcert.h"
#include "tests/lib/treedir.h"

#define TEST_NAME "*.abcdefghijklmnopqrstuvwxyz234567.direct.example"
#define TEST_PASSWORD "tea"

static const struct forms_bundle TEST_BUNDLE = { TEST_PASSWORD, false };

struct testset {
    EVP_PKEY *key;
    STACK_OF(X509) * chain;
    struct buf csr;
};

static inline void testset_make(struct testset *t)
{
    buf_init(&t->csr, CSR_PEM_MAX);
    t->chain = sk_X509_new_null();
    if (key_new(&t->key, KEY_P256) != ERR_OK || csr_new(&t->csr, t->key, TEST_NAME) != ERR_OK)
        abort();
    sk_X509_push(t->chain, testcert_new(t->key, "DNS:" TEST_NAME, -60, 86400));
    sk_X509_push(t->chain, testcert_new(t->key, "DNS:issuer.example", -60, 86400));
}

static inline void testset_clear(struct testset *t)
{
    EVP_PKEY_free(t->key);
    sk_X509_pop_free(t->chain, X509_free);
    buf_clear(&t->csr);
}

static inline bool file_has_key(const char *path, EVP_PKEY *key)
{
    FILE *f = fopen(path, "r");
    EVP_PKEY *found = f != NULL ? PEM_read_PrivateKey(f, NULL, NULL, NULL) : NULL;
    bool same = found != NULL && EVP_PKEY_eq(found, key) == 1;
    EVP_PKEY_free(found);
    if (f != NULL)
        fclose(f);
    return same;
}

/* Whether the PEM file holds the certificates `from`.. of `t`, and no more. */
static inline bool file_has_chain(const char *path, const struct testset *t, int from, int to)
{
    FILE *f = fopen(path, "r");
    bool same = f != NULL;
    for (int i = from; same && i <= to; i++) {
        X509 *c = PEM_read_X509(f, NULL, NULL, NULL);
        same = i < to ? c != NULL && X509_cmp(c, sk_X509_value(t->chain, i)) == 0 : c == NULL;
        X509_free(c);
    }
    if (f != NULL)
        fclose(f);
    return same;
}

static inline bool file_has_bundle(const char *path, const struct testset *t)
{
    FILE *f = fopen(path, "r");
    PKCS12 *p12 = f != NULL ? d2i_PKCS12_fp(f, NULL) : NULL;
    EVP_PKEY *key = NULL;
    X509 *leaf = NULL;
    STACK_OF(X509) *above = NULL;
    bool good = p12 != NULL && PKCS12_parse(p12, TEST_PASSWORD, &key, &leaf, &above) == 1 &&
                EVP_PKEY_eq(key, t->key) == 1 && X509_cmp(leaf, sk_X509_value(t->chain, 0)) == 0 &&
                sk_X509_num(above) == 1;
    EVP_PKEY_free(key);
    X509_free(leaf);
    sk_X509_pop_free(above, X509_free);
    PKCS12_free(p12);
    if (f != NULL)
        fclose(f);
    return good;
}

static inline bool has_mode(const char *path, mode_t mode)
{
    struct stat st;
    return stat(path, &st) == 0 && (st.st_mode & 07777) == mode;
}

/* Whether `current` is `t`, whole, in all six forms. */
static inline bool files_are(const struct treedir *d, const struct testset *t)
{
    return file_has_key(treedir_path(d, "current/privkey.pem"), t->key) &&
           file_has_key(treedir_path(d, "current/combined.pem"), t->key) &&
           file_has_chain(treedir_path(d, "current/cert.pem"), t, 0, 1) &&
           file_has_chain(treedir_path(d, "current/chain.pem"), t, 1, 2) &&
           file_has_chain(treedir_path(d, "current/fullchain.pem"), t, 0, 2) &&
           file_has_chain(treedir_path(d, "current/combined.pem"), t, 0, 2) &&
           file_has_bundle(treedir_path(d, "current/bundle.p12"), t);
}

/* The same, and closed where it has to be. */
static inline bool current_is(const struct treedir *d, const struct testset *t)
{
    return files_are(d, t) && has_mode(treedir_path(d, "current/privkey.pem"), 0600) &&
           has_mode(treedir_path(d, "current/combined.pem"), 0600) &&
           has_mode(treedir_path(d, "current/bundle.p12"), 0600);
}

#endif
