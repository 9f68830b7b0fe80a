#include "agent/forms.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pkcs12.h>

#include "common/base/span.h"
#include "common/pki/cert.h"
#include "common/pki/key.h"

#define FORM_MAX (2 * CERT_PEM_MAX) /* bytes of one file */

const struct form FORMS[FORM_N] = {
    [FORM_PRIVKEY] = { "privkey.pem", 0600 },   [FORM_CERT] = { "cert.pem", 0644 },
    [FORM_CHAIN] = { "chain.pem", 0644 },       [FORM_FULLCHAIN] = { "fullchain.pem", 0644 },
    [FORM_COMBINED] = { "combined.pem", 0600 }, [FORM_BUNDLE] = { "bundle.p12", 0600 },
};

void forms_init(struct forms *f)
{
    for (int i = 0; i < FORM_N; i++)
        buf_init(&f->content[i], FORM_MAX);
}

void forms_wipe(struct forms *f)
{
    for (int i = 0; i < FORM_N; i++)
        buf_wipe(&f->content[i]);
}

static enum err add_bundle(struct buf *out, EVP_PKEY *key, STACK_OF(X509) * chain,
                           const char *password)
{
    enum err e = ERR_NOMEM;
    PKCS12 *p12 = NULL;
    BIO *bio = BIO_new(BIO_s_secmem());
    STACK_OF(X509) *above = sk_X509_dup(chain); /* the certificates stay the caller's */
    if (bio == NULL || above == NULL)
        goto out;
    X509 *leaf = sk_X509_shift(above);
    e = ERR_CRYPTO;
    /* zeros: OpenSSL 3's defaults, PBES2 with AES-256-CBC and an HMAC-SHA-256 */
    p12 = PKCS12_create(password, "lanyard", key, leaf, above, 0, 0, 0, 0, 0);
    if (p12 == NULL || i2d_PKCS12_bio(bio, p12) != 1)
        goto out;
    char *p;
    long n = BIO_get_mem_data(bio, &p);
    buf_add(out, p, (size_t)n);
    e = buf_error(out);
out:
    ERR_clear_error();
    sk_X509_free(above);
    PKCS12_free(p12);
    BIO_free_all(bio);
    return e;
}

static enum err add_pems(struct forms *f, EVP_PKEY *key, STACK_OF(X509) * chain)
{
    struct buf *c = f->content;
    enum err e = key_to_pem(key, &c[FORM_PRIVKEY]);
    for (int i = 0; e == ERR_OK && i < sk_X509_num(chain); i++)
        e = cert_to_pem(sk_X509_value(chain, i), i == 0 ? &c[FORM_CERT] : &c[FORM_CHAIN]);
    if (e != ERR_OK)
        return e;
    buf_add_span(&c[FORM_FULLCHAIN], buf_span(&c[FORM_CERT]));
    buf_add_span(&c[FORM_FULLCHAIN], buf_span(&c[FORM_CHAIN]));
    buf_add_span(&c[FORM_COMBINED], buf_span(&c[FORM_PRIVKEY]));
    buf_add_span(&c[FORM_COMBINED], buf_span(&c[FORM_FULLCHAIN]));
    return ERR_OK;
}

enum err forms_make(struct forms *f, EVP_PKEY *key, STACK_OF(X509) * chain, const char *password,
                    struct err_info *info)
{
    enum err e = add_pems(f, key, chain);
    if (e == ERR_OK)
        e = add_bundle(&f->content[FORM_BUNDLE], key, chain, password);
    for (int i = 0; e == ERR_OK && i < FORM_N; i++)
        e = buf_error(&f->content[i]);
    if (e != ERR_OK)
        return err_set(info, e, "cannot write the certificate in all its forms: %s", err_name(e));
    return ERR_OK;
}
