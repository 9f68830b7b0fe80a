#include "agent/forms.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pkcs12.h>

#include "common/base/span.h"
#include "common/pki/biobuf.h"
#include "common/pki/cert.h"
#include "common/pki/key.h"

#define LEGACY_ITERATIONS 2048
#define FORM_MAX (2 * CERT_PEM_MAX) /* bytes of one file */

const struct form FORMS[FORM_N] = {
    [FORM_PRIVKEY] = { "privkey.pem", true },   [FORM_CERT] = { "cert.pem", false },
    [FORM_CHAIN] = { "chain.pem", false },      [FORM_FULLCHAIN] = { "fullchain.pem", false },
    [FORM_COMBINED] = { "combined.pem", true }, [FORM_BUNDLE] = { "bundle.p12", true },
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

static PKCS12 *make_bundle(EVP_PKEY *key, X509 *leaf, STACK_OF(X509) * above,
                           const struct forms_bundle *b)
{
    if (!b->legacy) /* zeros: OpenSSL 3's defaults, PBES2 with AES-256-CBC and an HMAC-SHA-256 */
        return PKCS12_create(b->password, "lanyard", key, leaf, above, 0, 0, 0, 0, 0);
    int pbe = NID_pbe_WithSHA1And3_Key_TripleDES_CBC;
    PKCS12 *p12 = PKCS12_create(b->password, "lanyard", key, leaf, above, pbe, pbe,
                                LEGACY_ITERATIONS, -1, 0); /* -1: the MAC is set below */
    if (p12 != NULL &&
        PKCS12_set_mac(p12, b->password, -1, NULL, 0, LEGACY_ITERATIONS, EVP_sha1()) != 1) {
        PKCS12_free(p12);
        return NULL;
    }
    return p12;
}

static enum err add_bundle(struct buf *out, EVP_PKEY *key, STACK_OF(X509) * chain,
                           const struct forms_bundle *b)
{
    enum err e = ERR_NOMEM;
    PKCS12 *p12 = NULL;
    BIO *bio = BIO_new(BIO_s_secmem());
    STACK_OF(X509) *above = sk_X509_dup(chain); /* the certificates stay the caller's */
    if (bio == NULL || above == NULL)
        goto out;
    X509 *leaf = sk_X509_shift(above);
    e = ERR_CRYPTO;
    p12 = make_bundle(key, leaf, above, b);
    if (p12 == NULL || i2d_PKCS12_bio(bio, p12) != 1)
        goto out;
    e = biobuf_add(out, bio);
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

enum err forms_make(struct forms *f, EVP_PKEY *key, STACK_OF(X509) * chain,
                    const struct forms_bundle *bundle, struct err_info *info)
{
    enum err e = add_pems(f, key, chain);
    if (e == ERR_OK)
        e = add_bundle(&f->content[FORM_BUNDLE], key, chain, bundle);
    for (int i = 0; e == ERR_OK && i < FORM_N; i++)
        e = buf_error(&f->content[i]);
    if (e != ERR_OK)
        return err_set(info, e, "cannot write the certificate in all its forms: %s", err_name(e));
    return ERR_OK;
}
