#include "common/pki/key.h"

#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "common/base/file.h"
#include "common/pki/biobuf.h"

#define KEY_FILE_MAX 16384 /* bytes; an RSA-4096 key in PEM has 3,300 */

enum err key_new(EVP_PKEY **out, enum key_type type)
{
    EVP_PKEY *key = type == KEY_P256 ? EVP_EC_gen("P-256") : EVP_RSA_gen(2048);
    if (key == NULL)
        return ERR_CRYPTO;
    *out = key;
    return ERR_OK;
}

enum err key_to_pem(EVP_PKEY *key, struct buf *out)
{
    BIO *bio = BIO_new(BIO_s_secmem());
    if (bio == NULL)
        return ERR_NOMEM;
    enum err e = ERR_CRYPTO;
    if (PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1)
        e = biobuf_add(out, bio);
    BIO_free_all(bio);
    return e;
}

enum err key_load(EVP_PKEY **out, const char *path, struct err_info *info)
{
    return key_load_shared(out, path, geteuid(), 0600, info);
}

enum err key_load_shared(EVP_PKEY **out, const char *path, uid_t owner, mode_t mode,
                         struct err_info *info)
{
    struct buf pem;
    buf_init(&pem, KEY_FILE_MAX);
    enum err e = file_read_shared_secret(path, owner, mode, &pem, info);
    if (e == ERR_OK) {
        BIO *bio = BIO_new_mem_buf(buf_str(&pem), (int)pem.len);
        char none[] = ""; /* an encrypted key fails here instead of asking on the terminal */
        EVP_PKEY *key = bio == NULL ? NULL : PEM_read_bio_PrivateKey(bio, NULL, NULL, none);
        BIO_free_all(bio);
        if (key == NULL)
            e = err_set(info, ERR_INVALID, "%s holds no unencrypted PEM private key", path);
        else
            *out = key;
    }
    buf_wipe(&pem);
    return e;
}

enum err key_load_or_make(EVP_PKEY **out, const char *path, enum key_type type,
                          struct err_info *info)
{
    enum err e = key_load(out, path, info);
    if (e != ERR_NOTFOUND)
        return e;
    EVP_PKEY *key = NULL;
    struct buf pem;
    buf_init(&pem, KEY_FILE_MAX);
    e = key_new(&key, type);
    if (e == ERR_OK)
        e = key_to_pem(key, &pem);
    if (e == ERR_OK)
        e = file_create_atomic(path, buf_span(&pem), 0600, info);
    else
        (void)err_set(info, e, "cannot make a key for %s", path);
    buf_wipe(&pem);
    EVP_PKEY_free(key);
    if (e != ERR_OK && e != ERR_EXISTS)
        return e;
    /* what is on disk counts, also when another process was first */
    return key_load(out, path, info);
}
