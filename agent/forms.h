/* forms.h - the six files in which applications want a certificate and its key. Pure; one thread.
 */
#ifndef LANYARD_AGENT_FORMS_H
#define LANYARD_AGENT_FORMS_H

#include <stdbool.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"

enum form_kind {
    FORM_PRIVKEY,   /* the key alone, PKCS#8 */
    FORM_CERT,      /* the leaf */
    FORM_CHAIN,     /* what is above the leaf; empty when there is nothing */
    FORM_FULLCHAIN, /* leaf and chain */
    FORM_COMBINED,  /* key, leaf and chain, as haproxy and lighttpd read it */
    FORM_BUNDLE,    /* PKCS#12: see struct forms_bundle */
    FORM_N
};

/* How the PKCS#12 file is made. */
struct forms_bundle {
    const char *password; /* may be empty */
    bool legacy; /* triple DES and SHA-1, for what is older than 2018 or so: Java 8, Windows before
                    2019, iOS before 15; otherwise AES-256 and SHA-256 */
};

/* The file of each form; who may read it is in access.h. */
struct form {
    const char *name;
    bool has_key;
};
extern const struct form FORMS[FORM_N];

/* The contents, by form. Initialise with forms_init(), end with forms_wipe(). */
struct forms {
    struct buf content[FORM_N];
};

void forms_init(struct forms *f);
void forms_wipe(struct forms *f);

/* Fills `f` from the key and the chain (leaf first). Errors: ERR_CRYPTO, ERR_NOMEM, ERR_LIMIT. */
NODISCARD enum err forms_make(struct forms *f, EVP_PKEY *key, STACK_OF(X509) * chain,
                              const struct forms_bundle *bundle, struct err_info *info);

#endif
