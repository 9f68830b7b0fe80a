#include "provisiond/store/stopped.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/file.h"
#include "provisiond/store/device.h"

#define FILE_MAX ((size_t)64 * 1024 * 1024) /* bytes: two million ids */

static const char MARK[] =
    "# lanyard-provisiond replaces what is below this line; write your own above it\n";

/* Bytes of `text` that are the operator's. */
static size_t own_part(struct span text)
{
    if (text.len == 0) /* no file, or nothing in it */
        return 0;
    const uint8_t *mark = memmem(text.p, text.len, MARK, sizeof MARK - 1);
    return mark != NULL ? (size_t)(mark - text.p) : text.len;
}

static enum err read_old(const char *path, struct buf *old, struct err_info *info)
{
    enum err e = file_read(path, old, info);
    return e == ERR_NOTFOUND ? ERR_OK : e;
}

enum err stopped_write(struct sql *db, const char *zone, const char *path, int64_t now_s,
                       bool *changed, struct err_info *info)
{
    struct buf old, text;
    buf_init(&old, FILE_MAX);
    buf_init(&text, FILE_MAX);
    enum err e = read_old(path, &old, info);
    if (e == ERR_OK) {
        size_t own = own_part(buf_span(&old));
        if (own > 0)
            buf_add(&text, old.p, own);
        if (own > 0 && old.p[own - 1] != '\n')
            buf_add_str(&text, "\n");
        buf_add_str(&text, MARK);
        e = device_list_stopped(db, zone, now_s, &text, info);
    }
    if (e == ERR_LIMIT || e == ERR_NOMEM)
        e = err_set(info, e, "%s: too many devices to list", path);
    *changed = e == ERR_OK && !span_equal(buf_span(&old), buf_span(&text));
    if (*changed) /* dnsd may be another user; an id is no secret */
        e = file_write_atomic(path, buf_span(&text), 0644, info);
    buf_clear(&old);
    buf_clear(&text);
    return e;
}
