#include "provisiond/tagkeys.h"

#include <pthread.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/file.h"

#define TEXT_MAX 4096

struct tagkeys {
    pthread_mutex_t lock; /* the store's threads make names, too */
    struct tag_keys keys;
    char *path;
};

static enum err read_file(struct tag_keys *out, const char *path, const char *user,
                          struct err_info *info)
{
    struct buf text;
    unsigned line;
    const struct passwd *pw = user != NULL ? getpwnam(user) : NULL;
    buf_init(&text, TEXT_MAX);
    enum err e = file_read_secret_of(path, pw != NULL ? pw->pw_uid : geteuid(), &text, info);
    if (e == ERR_OK) {
        e = tag_keys_parse(out, buf_span(&text), &line, info);
        if (e != ERR_OK)
            e = err_prefix(info, e, "%s:%u: ", path, line);
    }
    buf_wipe(&text);
    return e;
}

enum err tagkeys_new(struct tagkeys **out, const char *path, const char *user,
                     struct err_info *info)
{
    struct tagkeys *k = calloc(1, sizeof *k);
    if (k == NULL)
        return err_set(info, ERR_NOMEM, "out of memory");
    (void)pthread_mutex_init(&k->lock, NULL);
    k->path = strdup(path);
    enum err e = k->path != NULL ? read_file(&k->keys, path, user, info)
                                 : err_set(info, ERR_NOMEM, "out of memory");
    if (e != ERR_OK) {
        tagkeys_free(k);
        return e;
    }
    *out = k;
    return ERR_OK;
}

enum err tagkeys_reload(struct tagkeys *k, const char *user, struct err_info *info)
{
    struct tag_keys keys;
    enum err e = read_file(&keys, k->path, user, info);
    if (e != ERR_OK)
        return e;
    (void)pthread_mutex_lock(&k->lock);
    k->keys = keys;
    (void)pthread_mutex_unlock(&k->lock);
    explicit_bzero(&keys, sizeof keys);
    return ERR_OK;
}

void tagkeys_label(struct tagkeys *k, char out[TAG_LABEL_MAX], struct span id, const struct ip *ip)
{
    (void)pthread_mutex_lock(&k->lock);
    tag_label(out, &k->keys, id, ip);
    (void)pthread_mutex_unlock(&k->lock);
}

void tagkeys_free(struct tagkeys *k)
{
    if (k == NULL)
        return;
    (void)pthread_mutex_destroy(&k->lock);
    explicit_bzero(&k->keys, sizeof k->keys);
    free(k->path);
    free(k);
}
