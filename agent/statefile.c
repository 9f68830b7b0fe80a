#include "agent/statefile.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/statedir.h"
#include "common/base/file.h"
#include "common/base/log.h"

#define VERSION 1
#define FILE_MAX (64 * 1024) /* bytes */

/* As statefile_load(), but ERR_INVALID when it is damaged and ERR_NOTFOUND when there is none. */
static enum err load(json_t **out, const char *path, struct err_info *info)
{
    struct buf text;
    buf_init(&text, FILE_MAX);
    enum err e = file_read(path, &text, info);
    json_t *root = e == ERR_OK ? json_loadb(buf_str(&text), text.len, 0, NULL) : NULL;
    json_int_t version = json_integer_value(json_object_get(root, "version"));
    buf_clear(&text);
    if (version > VERSION)
        e = err_set(info, ERR_CONFIG,
                    "%s was written by a newer lanyard-agent: use that one, or remove the file",
                    path);
    else if (e == ERR_LIMIT || (e == ERR_OK && version != VERSION))
        e = err_set(info, ERR_INVALID, "%s is damaged", path);
    if (e == ERR_OK)
        *out = root;
    else
        json_decref(root);
    return e;
}

enum err statefile_load(json_t **out, const char *state_dir, const char *name,
                        struct err_info *info)
{
    char path[PATH_MAX];
    enum err e = statedir_path(path, state_dir, name, info);
    if (e != ERR_OK)
        return e;
    *out = NULL;
    e = load(out, path, info);
    if (e == ERR_INVALID)
        log_warn("%s: starting from what the other files say", info->text);
    return e == ERR_INVALID || e == ERR_NOTFOUND ? ERR_OK : e;
}

enum err statefile_save(json_t *root, const char *state_dir, const char *name,
                        struct err_info *info)
{
    char path[PATH_MAX], *text = NULL;
    enum err e = statedir_path(path, state_dir, name, info);
    if (e != ERR_OK)
        goto out;
    if (root != NULL && json_object_set_new(root, "version", json_integer(VERSION)) == 0)
        text = json_dumps(root, JSON_INDENT(2));
    e = text != NULL ? file_write_atomic(path, span_str(text), 0600, info)
                     : err_set(info, ERR_NOMEM, "cannot write %s: out of memory", path);
out:
    free(text);
    json_decref(root);
    return e;
}

enum err statefile_remove(const char *state_dir, const char *name, struct err_info *info)
{
    char path[PATH_MAX];
    enum err e = statedir_path(path, state_dir, name, info);
    if (e == ERR_OK && unlink(path) != 0 && errno != ENOENT)
        e = err_set(info, err_from_errno(errno), "cannot remove %s: %s", path, strerror(errno));
    return e;
}

enum err statefile_check_all(const char *state_dir, struct err_info *info)
{
    static const char *const NAMES[] = { STATEFILE_JOURNAL, STATEFILE_REPORT };
    for (size_t i = 0; i < ARRAY_LEN(NAMES); i++) {
        char path[PATH_MAX];
        json_t *root = NULL;
        enum err e = statedir_path(path, state_dir, NAMES[i], info);
        if (e == ERR_OK)
            e = load(&root, path, info);
        json_decref(root);
        if (e == ERR_CONFIG)
            return e;
    }
    return ERR_OK;
}
