/* key.h - private keys: make, load, save. Keys stay in this process and in files of mode 0600.
 * Blocking file access; any thread. */
#ifndef LANYARD_PKI_KEY_H
#define LANYARD_PKI_KEY_H

#include <sys/types.h>

#include <openssl/evp.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"

enum key_type { KEY_P256, KEY_RSA2048 };

/* A fresh key; the caller calls EVP_PKEY_free(). Errors: ERR_CRYPTO. */
NODISCARD enum err key_new(EVP_PKEY **out, enum key_type type);

/* Appends the PKCS#8 PEM of `key`, unencrypted, to `out`: wipe it with buf_wipe(). */
NODISCARD enum err key_to_pem(EVP_PKEY *key, struct buf *out);

/* Loads an unencrypted PEM private key. The file must be closed to others (file_read_secret()).
 * Errors: those of file_read_secret(), ERR_INVALID when it holds no usable key. */
NODISCARD enum err key_load(EVP_PKEY **out, const char *path, struct err_info *info);

/* As key_load(), for a file of `owner` that may be as open as `mode`: file_read_shared_secret(). */
NODISCARD enum err key_load_shared(EVP_PKEY **out, const char *path, uid_t owner, mode_t mode,
                                   struct err_info *info);

/* Loads the key at `path`, or, where there is none, makes one of `type` and stores it with mode
 * 0600, safely against a power cut and against a second process doing the same. */
NODISCARD enum err key_load_or_make(EVP_PKEY **out, const char *path, enum key_type type,
                                    struct err_info *info);

#endif
