#include "provisiond/acme/account.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/file.h"
#include "provisiond/acme/message.h"

#define ACCOUNT_FILE_MAX 4096

static enum err make_path(char out[PATH_MAX], const struct account_id *id, const char *suffix,
                          struct err_info *info)
{
    int n = snprintf(out, PATH_MAX, "%s%s", id->key_path, suffix);
    return n > 0 && n < PATH_MAX ? ERR_OK
                                 : err_set(info, ERR_LIMIT, "path too long: %s", id->key_path);
}

/* Reads the line of the file that follows `head`. */
static enum err load(const struct account_id *id, const char *suffix, const struct buf *head,
                     char url[ISSUER_URL_MAX])
{
    char path[PATH_MAX], found[ISSUER_URL_MAX];
    struct buf file;
    buf_init(&file, ACCOUNT_FILE_MAX);
    enum err e = make_path(path, id, suffix, NULL);
    if (e == ERR_OK)
        e = buf_error(head);
    if (e == ERR_OK)
        e = file_read(path, &file, NULL);
    if (e == ERR_OK && strncmp(buf_str(&file), buf_str(head), head->len) != 0)
        e = ERR_NOTFOUND;
    if (e == ERR_OK) {
        const char *text = buf_str(&file) + head->len;
        int n = snprintf(found, sizeof found, "%.*s", (int)strcspn(text, "\n"), text);
        if (n > 0 && (size_t)n < sizeof found && message_url_ok(found))
            memcpy(url, found, sizeof found);
        else
            e = ERR_NOTFOUND;
    }
    buf_clear(&file);
    return e == ERR_OK ? ERR_OK : ERR_NOTFOUND;
}

/* Writes `head`, which becomes the whole file, and the line after it. */
static enum err save(const struct account_id *id, const char *suffix, struct buf *head,
                     const char *url, struct err_info *info)
{
    char path[PATH_MAX];
    enum err e = make_path(path, id, suffix, info);
    buf_add_fmt(head, "%s\n", url);
    if (e == ERR_OK)
        e = buf_error(head);
    return e == ERR_OK ? file_write_atomic(path, buf_span(head), 0600, info) : e;
}

enum err account_load(const struct account_id *id, char url[ISSUER_URL_MAX])
{
    struct buf head;
    buf_init(&head, ACCOUNT_FILE_MAX);
    buf_add_fmt(&head, "%s\n%s\n", id->directory_url, id->thumbprint);
    enum err e = load(id, ".url", &head, url);
    buf_clear(&head);
    return e;
}

enum err account_save(const struct account_id *id, const char *url, struct err_info *info)
{
    struct buf head;
    buf_init(&head, ACCOUNT_FILE_MAX);
    buf_add_fmt(&head, "%s\n%s\n", id->directory_url, id->thumbprint);
    enum err e = save(id, ".url", &head, url, info);
    buf_clear(&head);
    return e;
}

enum err account_load_terms(const struct account_id *id, char url[ISSUER_URL_MAX])
{
    struct buf head;
    buf_init(&head, ACCOUNT_FILE_MAX);
    buf_add_fmt(&head, "%s\n", id->directory_url);
    enum err e = load(id, ".terms", &head, url);
    buf_clear(&head);
    return e;
}

enum err account_save_terms(const struct account_id *id, const char *url, struct err_info *info)
{
    struct buf head;
    buf_init(&head, ACCOUNT_FILE_MAX);
    buf_add_fmt(&head, "%s\n", id->directory_url);
    enum err e = save(id, ".terms", &head, url, info);
    buf_clear(&head);
    return e;
}
