#include "agent/journal.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "agent/statedir.h"
#include "common/base/file.h"
#include "common/base/log.h"

#define VERSION 1
#define FILE_MAX (64 * 1024) /* bytes */

static void get_text(const json_t *obj, const char *key, char *out, size_t cap)
{
    const char *text = json_string_value(json_object_get(obj, key));
    (void)snprintf(out, cap, "%s", text != NULL ? text : "");
}

static int64_t get_int(const json_t *obj, const char *key, int64_t max)
{
    json_int_t n = json_integer_value(json_object_get(obj, key));
    return n < 0 || n > max ? 0 : (int64_t)n;
}

static void parse_hook(struct hook_result *h, const json_t *obj)
{
    h->generation = (unsigned)get_int(obj, "generation", UINT_MAX);
    h->at = get_int(obj, "at", INT64_MAX);
    h->timed_out = json_is_true(json_object_get(obj, "timed_out"));
    json_int_t status = json_integer_value(json_object_get(obj, "exit_status"));
    h->exit_status = status < -1 || status > 255 ? -1 : (int)status;
    get_text(obj, "output", h->output, sizeof h->output);
}

static void parse(struct journal *j, const json_t *root)
{
    get_text(root, "zone", j->zone, sizeof j->zone);
    get_text(root, "server", j->server, sizeof j->server);
    const char *state = json_string_value(json_object_get(root, "state"));
    j->state = state != NULL ? lifecycle_from_name(state) : LIFECYCLE_ILLEGAL;
    j->attempts = (unsigned)get_int(root, "attempts", 1000000);
    j->starts = (unsigned)get_int(root, "starts", 1000000);
    j->retry_at = get_int(root, "retry_at", INT64_MAX);
    j->renew_generation = (unsigned)get_int(root, "renew_generation", UINT_MAX);
    j->renew_at = get_int(root, "renew_at", INT64_MAX);
    get_text(root, "error", j->error, sizeof j->error);
    j->error_at = get_int(root, "error_at", INT64_MAX);
    parse_hook(&j->hook, json_object_get(root, "hook"));
}

enum err journal_load(struct journal *out, const char *state_dir, struct err_info *info)
{
    char path[PATH_MAX];
    struct buf text;
    json_t *root = NULL;
    buf_init(&text, FILE_MAX);
    enum err e = statedir_path(path, state_dir, "state.json", info);
    if (e == ERR_OK)
        e = file_read(path, &text, info);
    if (e == ERR_NOTFOUND || e == ERR_LIMIT) {
        *out = (struct journal){ 0 };
        e = ERR_OK;
        goto out;
    }
    if (e != ERR_OK)
        goto out;
    root = json_loadb(buf_str(&text), text.len, 0, NULL);
    json_int_t version = json_integer_value(json_object_get(root, "version"));
    if (version > VERSION) {
        e = err_set(info, ERR_CONFIG,
                    "%s was written by a newer lanyard-agent: use that one, or remove the file",
                    path);
        goto out;
    }
    *out = (struct journal){ 0 };
    if (version == VERSION)
        parse(out, root);
    else
        log_warn("%s is damaged: starting from what the other files say", path);
out:
    json_decref(root);
    buf_clear(&text);
    return e;
}

/* jansson takes UTF-8 only, and a hook may print anything. */
static json_t *lossy_string(const char *text)
{
    json_t *s = json_string(text);
    if (s != NULL)
        return s;
    char *copy = strdup(text);
    for (char *p = copy; p != NULL && *p != 0; p++) {
        if ((unsigned char)*p >= 0x80)
            *p = '?';
    }
    s = copy != NULL ? json_string(copy) : NULL;
    free(copy);
    return s;
}

static json_t *to_json(const struct journal *j)
{
    const struct hook_result *h = &j->hook;
    json_t *hook = json_pack("{sI sI sb si so*}", "generation", (json_int_t)h->generation, "at",
                             (json_int_t)h->at, "timed_out", h->timed_out, "exit_status",
                             h->exit_status, "output", lossy_string(h->output));
    return json_pack("{si ss ss ss sI sI sI sI sI so* sI so*}", "version", VERSION, "zone", j->zone,
                     "server", j->server, "state", lifecycle_name(j->state), "attempts",
                     (json_int_t)j->attempts, "starts", (json_int_t)j->starts, "retry_at",
                     (json_int_t)j->retry_at, "renew_generation", (json_int_t)j->renew_generation,
                     "renew_at", (json_int_t)j->renew_at, "error", lossy_string(j->error),
                     "error_at", (json_int_t)j->error_at, "hook", hook);
}

enum err journal_save(const struct journal *j, const char *state_dir, struct err_info *info)
{
    char path[PATH_MAX];
    enum err e = statedir_path(path, state_dir, "state.json", info);
    if (e != ERR_OK)
        return e;
    json_t *root = to_json(j);
    char *text = root != NULL ? json_dumps(root, JSON_INDENT(2)) : NULL;
    if (text == NULL)
        e = err_set(info, ERR_NOMEM, "cannot write %s: out of memory", path);
    else
        e = file_write_atomic(path, span_str(text), 0600, info);
    free(text);
    json_decref(root);
    return e;
}

enum err journal_remove(const char *state_dir, struct err_info *info)
{
    char path[PATH_MAX];
    enum err e = statedir_path(path, state_dir, "state.json", info);
    if (e == ERR_OK && unlink(path) != 0 && errno != ENOENT)
        e = err_set(info, err_from_errno(errno), "cannot remove %s: %s", path, strerror(errno));
    return e;
}
