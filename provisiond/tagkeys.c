#include "provisiond/tagkeys.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/file.h"

#define TEXT_MAX 4096

enum err tagkeys_read(struct tag_keys **out, const char *path, const char *user,
                      struct err_info *info)
{
    struct buf text;
    unsigned line;
    const struct passwd *pw = user != NULL ? getpwnam(user) : NULL;
    struct tag_keys *keys = calloc(1, sizeof *keys);
    if (keys == NULL)
        return err_set(info, ERR_NOMEM, "out of memory");
    buf_init(&text, TEXT_MAX);
    enum err e = file_read_secret_of(path, pw != NULL ? pw->pw_uid : geteuid(), &text, info);
    if (e == ERR_OK) {
        e = tag_keys_parse(keys, buf_span(&text), &line, info);
        if (e != ERR_OK)
            e = err_prefix(info, e, "%s:%u: ", path, line);
    }
    buf_wipe(&text);
    if (e != ERR_OK) {
        tagkeys_free(keys);
        return e;
    }
    *out = keys;
    return ERR_OK;
}

void tagkeys_free(struct tag_keys *keys)
{
    if (keys != NULL)
        explicit_bzero(keys, sizeof *keys);
    free(keys);
}
