#include "agent/reportfile.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/core/worth.h"
#include "agent/statedir.h"
#include "common/base/file.h"

#define NAME "report.json"
#define FILE_MAX 8192 /* bytes */

static bool is_text(const json_t *root, const char *key, const char *want)
{
    const char *text = json_string_value(json_object_get(root, key));
    return text != NULL && strcmp(text, want) == 0;
}

static void parse(struct reportfile *f, struct span text, const struct config *c, const char *id)
{
    json_t *root = json_loadb((const char *)text.p, text.len, 0, NULL);
    if (is_text(root, "zone", c->zone) && is_text(root, "server", c->server) &&
        reported_parse(&f->reported, text, id, c->zone) == ERR_OK) {
        json_int_t attempts = json_integer_value(json_object_get(root, "attempts"));
        f->attempts = attempts > 0 && attempts < 1000000 ? (unsigned)attempts : 0;
        f->retry_at = json_integer_value(json_object_get(root, "retry_at"));
    }
    json_decref(root);
}

enum err reportfile_load(struct reportfile *out, const struct config *c, const char *id,
                         struct err_info *info)
{
    char path[PATH_MAX];
    struct buf text;
    *out = (struct reportfile){ 0 };
    buf_init(&text, FILE_MAX);
    enum err e = statedir_path(path, c->state_dir, NAME, info);
    if (e == ERR_OK)
        e = file_read(path, &text, info);
    if (e == ERR_OK)
        parse(out, buf_span(&text), c, id);
    buf_clear(&text);
    return e == ERR_NOTFOUND || e == ERR_LIMIT ? ERR_OK : e;
}

json_t *reportfile_tags(const struct reportfile *f, const struct config *c, const char *id)
{
    json_t *list = json_array();
    for (size_t i = 0; i < f->reported.n_tags; i++) {
        const struct reported_tag *tag = &f->reported.tags[i];
        char address[WORTH_TEXT_MAX];
        worth_format(&tag->ip, address);
        (void)json_array_append_new(list,
                                    json_pack("{ss so*}", "address", address, "name",
                                              json_sprintf("%s.%s.%s", tag->label, id, c->zone)));
    }
    return list;
}

enum err reportfile_save(const struct reportfile *f, const struct config *c, const char *id,
                         struct err_info *info)
{
    char path[PATH_MAX];
    enum err e = statedir_path(path, c->state_dir, NAME, info);
    if (e != ERR_OK)
        return e;
    json_t *root = json_pack("{ss ss sI sI so*}", "zone", c->zone, "server", c->server, "attempts",
                             (json_int_t)f->attempts, "retry_at", (json_int_t)f->retry_at, "tags",
                             reportfile_tags(f, c, id));
    char *text = root != NULL ? json_dumps(root, JSON_INDENT(2)) : NULL;
    if (text == NULL)
        e = err_set(info, ERR_NOMEM, "cannot write %s: out of memory", path);
    else
        e = file_write_atomic(path, span_str(text), 0600, info);
    free(text);
    json_decref(root);
    return e;
}

enum err reportfile_remove(const char *state_dir, struct err_info *info)
{
    char path[PATH_MAX];
    enum err e = statedir_path(path, state_dir, NAME, info);
    if (e == ERR_OK && unlink(path) != 0 && errno != ENOENT)
        e = err_set(info, err_from_errno(errno), "cannot remove %s: %s", path, strerror(errno));
    return e;
}
