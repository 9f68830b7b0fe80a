#include "provisiond/local/issued.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "common/base/file.h"

enum err issued_key_make(struct issued_key *out, const char *order, struct span csr_der)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 &&
              EVP_DigestUpdate(ctx, order, strlen(order) + 1) == 1 &&
              EVP_DigestUpdate(ctx, csr_der.p, csr_der.len) == 1 &&
              EVP_DigestFinal_ex(ctx, hash, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    if (!ok)
        return ERR_NOMEM;
    for (size_t i = 0; i < ISSUED_KEY_LEN / 2; i++)
        (void)snprintf(out->text + 2 * i, 3, "%02x", hash[i]);
    return ERR_OK;
}

bool issued_key_is_valid(const char *text)
{
    return strlen(text) == ISSUED_KEY_LEN && strspn(text, "0123456789abcdef") == ISSUED_KEY_LEN;
}

static enum err make_path(char out[PATH_MAX], const char *dir, const char *key,
                          struct err_info *info)
{
    int n = snprintf(out, PATH_MAX, "%s/issued/%s.pem", dir, key);
    return n > 0 && n < PATH_MAX ? ERR_OK : err_set(info, ERR_LIMIT, "path too long: %s", dir);
}

enum err issued_get(const char *dir, const char *key, struct buf *pem, struct err_info *info)
{
    char path[PATH_MAX];
    if (!issued_key_is_valid(key))
        return err_set(info, ERR_NOTFOUND, "no such certificate");
    enum err e = make_path(path, dir, key, info);
    return e == ERR_OK ? file_read(path, pem, info) : e;
}

enum err issued_put(const char *dir, const char *key, struct span pem, struct err_info *info)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/issued", dir);
    if (n < 0 || (size_t)n >= sizeof path)
        return err_set(info, ERR_LIMIT, "path too long: %s", dir);
    enum err e = file_make_dir(path, 0700, info);
    if (e == ERR_OK)
        e = make_path(path, dir, key, info);
    return e == ERR_OK ? file_write_atomic(path, pem, 0600, info) : e;
}

void issued_prune(const char *dir, int64_t before_s)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/issued", dir);
    DIR *d = n > 0 && (size_t)n < sizeof path ? opendir(path) : NULL;
    if (d == NULL)
        return;
    struct dirent *de;
    while ((de = readdir(d)) != NULL) {
        struct stat st;
        if (de->d_name[0] != '.' && fstatat(dirfd(d), de->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(st.st_mode) && st.st_mtim.tv_sec < before_s)
            (void)unlinkat(dirfd(d), de->d_name, 0);
    }
    closedir(d);
}
