#include "provisiond/acme/signer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "common/pki/key.h"

struct signer {
    EVP_PKEY *key, *next;
    char *path, *next_path;
    char thumbprint[JWS_THUMBPRINT_LEN + 1];
    unsigned generation;
};

/* Takes `key`, which is then the signer's. */
static enum err set_key(struct signer *s, EVP_PKEY *key, struct err_info *info)
{
    char thumbprint[JWS_THUMBPRINT_LEN + 1];
    enum err e = jws_thumbprint(thumbprint, key);
    if (e != ERR_OK) {
        EVP_PKEY_free(key);
        return err_set(info, e, "%s must be an EC P-256, EC P-384 or RSA key", s->path);
    }
    EVP_PKEY_free(s->key);
    s->key = key;
    memcpy(s->thumbprint, thumbprint, sizeof thumbprint);
    s->generation++;
    return ERR_OK;
}

/* A next key that cannot be read is none: it was never used, or nothing can be done with it. */
static void load_next(struct signer *s)
{
    EVP_PKEY_free(s->next);
    s->next = NULL;
    if (key_load(&s->next, s->next_path, NULL) != ERR_OK)
        s->next = NULL;
}

enum err signer_open(struct signer **out, const char *path, struct err_info *info)
{
    struct signer *s = calloc(1, sizeof *s);
    EVP_PKEY *key = NULL;
    if (s == NULL)
        return ERR_NOMEM;
    s->path = strdup(path);
    if (asprintf(&s->next_path, "%s.next", path) < 0)
        s->next_path = NULL;
    enum err e = s->path == NULL || s->next_path == NULL ? ERR_NOMEM : ERR_OK;
    if (e == ERR_OK)
        e = key_load_or_make(&key, path, KEY_P256, info);
    if (e == ERR_OK)
        e = set_key(s, key, info);
    if (e != ERR_OK) {
        signer_free(s);
        return e;
    }
    load_next(s);
    *out = s;
    return ERR_OK;
}

void signer_free(struct signer *s)
{
    if (s == NULL)
        return;
    EVP_PKEY_free(s->key);
    EVP_PKEY_free(s->next);
    free(s->path);
    free(s->next_path);
    free(s);
}

const char *signer_thumbprint(const struct signer *s)
{
    return s->thumbprint;
}

unsigned signer_generation(const struct signer *s)
{
    return s->generation;
}

enum err signer_sign(struct signer *s, enum signer_key which, const struct jws_header *header,
                     struct span payload, struct buf *out)
{
    EVP_PKEY *key = which == SIGNER_NEXT ? s->next : s->key;
    return key == NULL ? ERR_ILLEGAL : jws_sign(out, key, header, payload);
}

enum err signer_jwk(struct signer *s, struct buf *out)
{
    return jws_jwk(out, s->key);
}

enum err signer_bind(struct signer *s, const char *new_account_url, const char *kid,
                     struct span mac_key, struct buf *out)
{
    return jws_bind(out, s->key, new_account_url, kid, mac_key);
}

bool signer_refresh(struct signer *s)
{
    EVP_PKEY *key = NULL;
    load_next(s);
    if (key_load(&key, s->path, NULL) != ERR_OK)
        return false;
    if (EVP_PKEY_eq(key, s->key) == 1) {
        EVP_PKEY_free(key);
        return false;
    }
    return set_key(s, key, NULL) == ERR_OK;
}

bool signer_has_next(const struct signer *s)
{
    return s->next != NULL;
}

enum err signer_make_next(struct signer *s, struct err_info *info)
{
    return s->next != NULL ? ERR_OK : key_load_or_make(&s->next, s->next_path, KEY_P256, info);
}

enum err signer_promote_next(struct signer *s, struct err_info *info)
{
    if (s->next == NULL)
        return ERR_ILLEGAL;
    if (rename(s->next_path, s->path) != 0)
        return err_set(info, err_from_errno(errno), "cannot rename %s to %s: %s", s->next_path,
                       s->path, strerror(errno));
    EVP_PKEY *key = s->next;
    s->next = NULL;
    /* the CA takes the new key only: it is used whether or not the rename is on disk yet, and a
     * power cut that undoes it leaves the next key, which is tried then */
    return set_key(s, key, info);
}

void signer_discard_next(struct signer *s)
{
    (void)unlink(s->next_path);
    EVP_PKEY_free(s->next);
    s->next = NULL;
}
