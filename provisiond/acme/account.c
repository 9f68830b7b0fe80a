#include "provisiond/acme/account.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/file.h"
#include "provisiond/acme/message.h"

#define ACCOUNT_FILE_MAX 4096

static enum err make_path(char out[PATH_MAX], const struct account_id *id, struct err_info *info)
{
    int n = snprintf(out, PATH_MAX, "%s.url", id->key_path);
    return n > 0 && n < PATH_MAX ? ERR_OK
                                 : err_set(info, ERR_LIMIT, "path too long: %s", id->key_path);
}

/* What the file starts with: three lines, of which the account URL is the last. */
static enum err write_head(struct buf *out, const struct account_id *id)
{
    buf_add_fmt(out, "%s\n%s\n", id->directory_url, id->thumbprint);
    return buf_error(out);
}

enum err account_load(const struct account_id *id, char url[ISSUER_URL_MAX])
{
    char path[PATH_MAX], found[ISSUER_URL_MAX];
    struct buf file, head;
    buf_init(&file, ACCOUNT_FILE_MAX);
    buf_init(&head, ACCOUNT_FILE_MAX);
    enum err e = make_path(path, id, NULL);
    if (e == ERR_OK)
        e = write_head(&head, id);
    if (e == ERR_OK)
        e = file_read(path, &file, NULL);
    if (e == ERR_OK && strncmp(buf_str(&file), buf_str(&head), head.len) != 0)
        e = ERR_NOTFOUND;
    if (e == ERR_OK) {
        const char *text = buf_str(&file) + head.len;
        int n = snprintf(found, sizeof found, "%.*s", (int)strcspn(text, "\n"), text);
        if (n > 0 && (size_t)n < sizeof found && message_url_ok(found))
            memcpy(url, found, sizeof found);
        else
            e = ERR_NOTFOUND;
    }
    buf_clear(&file);
    buf_clear(&head);
    return e == ERR_OK ? ERR_OK : ERR_NOTFOUND;
}

enum err account_save(const struct account_id *id, const char *url, struct err_info *info)
{
    char path[PATH_MAX];
    struct buf file;
    buf_init(&file, ACCOUNT_FILE_MAX);
    enum err e = make_path(path, id, info);
    if (e == ERR_OK)
        e = write_head(&file, id);
    if (e == ERR_OK) {
        buf_add_fmt(&file, "%s\n", url);
        e = buf_error(&file);
    }
    if (e == ERR_OK)
        e = file_write_atomic(path, buf_span(&file), 0600, info);
    buf_clear(&file);
    return e;
}
