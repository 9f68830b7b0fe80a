#include "agent/journal.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "agent/statefile.h"

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
    json_t *root;
    enum err e = statefile_load(&root, state_dir, STATEFILE_JOURNAL, info);
    if (e != ERR_OK)
        return e;
    *out = (struct journal){ 0 };
    if (root != NULL)
        parse(out, root);
    json_decref(root);
    return ERR_OK;
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
    return json_pack("{ss ss ss sI sI sI sI sI so* sI so*}", "zone", j->zone, "server", j->server,
                     "state", lifecycle_name(j->state), "attempts", (json_int_t)j->attempts,
                     "starts", (json_int_t)j->starts, "retry_at", (json_int_t)j->retry_at,
                     "renew_generation", (json_int_t)j->renew_generation, "renew_at",
                     (json_int_t)j->renew_at, "error", lossy_string(j->error), "error_at",
                     (json_int_t)j->error_at, "hook", hook);
}

enum err journal_save(const struct journal *j, const char *state_dir, struct err_info *info)
{
    return statefile_save(to_json(j), state_dir, STATEFILE_JOURNAL, info);
}
