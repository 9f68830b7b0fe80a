#include "agent/reportfile.h"

#include <stdio.h>
#include <string.h>

#include "agent/core/worth.h"
#include "agent/statefile.h"

static bool is_text(const json_t *root, const char *key, const char *want)
{
    const char *text = json_string_value(json_object_get(root, key));
    return text != NULL && strcmp(text, want) == 0;
}

static void parse(struct reportfile *f, const json_t *root, const struct config *c, const char *id)
{
    if (!is_text(root, "zone", c->zone) || !is_text(root, "server", c->server))
        return;
    f->reported = reported_from_json(root, id, c->zone);
    json_int_t attempts = json_integer_value(json_object_get(root, "attempts"));
    f->attempts = attempts > 0 && attempts < 1000000 ? (unsigned)attempts : 0;
    f->retry_at = json_integer_value(json_object_get(root, "retry_at"));
}

enum err reportfile_load(struct reportfile *out, const struct config *c, const char *id,
                         struct err_info *info)
{
    json_t *root;
    *out = (struct reportfile){ 0 };
    enum err e = statefile_load(&root, c->state_dir, STATEFILE_REPORT, info);
    if (e != ERR_OK)
        return e;
    parse(out, root, c, id);
    json_decref(root);
    return ERR_OK;
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
    json_t *root = json_pack("{ss ss sI sI so*}", "zone", c->zone, "server", c->server, "attempts",
                             (json_int_t)f->attempts, "retry_at", (json_int_t)f->retry_at, "tags",
                             reportfile_tags(f, c, id));
    return statefile_save(root, c->state_dir, STATEFILE_REPORT, info);
}
