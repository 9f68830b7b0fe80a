#include "agent/reportfile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/worth.h"
#include "agent/statefile.h"
#include "common/base/attr.h"

#define RELAY_EVERY_S 43200 /* half of a ticket's life */

static bool is_text(const json_t *root, const char *key, const char *want)
{
    const char *text = json_string_value(json_object_get(root, key));
    return text != NULL && strcmp(text, want) == 0;
}

static unsigned count_of(const json_t *root, const char *key)
{
    json_int_t n = json_integer_value(json_object_get(root, key));
    return n > 0 && n < 1000000 ? (unsigned)n : 0;
}

static int64_t time_of(const json_t *root, const char *key)
{
    json_int_t at = json_integer_value(json_object_get(root, key));
    return at > 0 && at < INT64_C(1) << 40 ? at : 0;
}

static void parse(struct reportfile *f, const json_t *root, const struct config *c, const char *id)
{
    if (!is_text(root, "zone", c->zone) || !is_text(root, "server", c->server))
        return;
    f->reported = reported_from_json(root, id, c->zone);
    f->attempts = count_of(root, "attempts");
    f->retry_at = time_of(root, "retry_at");
    f->busy_until = time_of(root, "busy_until");
    f->pace.starts = count_of(root, "starts");
    f->pace.started_at = time_of(root, "started_at");
    f->relay = json_incref(json_object_get(root, "relay"));
    f->relay_at = time_of(root, "relay_at");
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

/* What of the service's relay is kept: nothing long. NULL when it is none. */
static json_t *known_members(const json_t *relay)
{
    static const char *const MEMBERS[] = {
        "name", "id", "control", "data", "host", "port", "ticket", "ticket_expires_at",
    };
    json_t *out = json_is_object(relay) ? json_object() : NULL;
    for (size_t i = 0; i < ARRAY_LEN(MEMBERS) && out != NULL; i++) {
        json_t *v = json_object_get(relay, MEMBERS[i]);
        if (json_is_integer(v) || (json_is_string(v) && json_string_length(v) < RELAYGRANT_URL_MAX))
            (void)json_object_set(out, MEMBERS[i], v);
    }
    return out;
}

static bool same_but_ticket(const json_t *a, const json_t *b)
{
    static const char *const MEMBERS[] = { "name", "id", "control", "data", "host", "port" };
    for (size_t i = 0; i < ARRAY_LEN(MEMBERS); i++) {
        const json_t *v = json_object_get(a, MEMBERS[i]), *w = json_object_get(b, MEMBERS[i]);
        if (v != w && !json_equal(v, w))
            return false;
    }
    return true;
}

bool reportfile_take_relay(struct reportfile *f, struct span answer, int64_t now_s)
{
    json_t *root = json_loadb((const char *)answer.p, answer.len, JSON_REJECT_DUPLICATES, NULL);
    json_t *relay = known_members(json_object_get(root, "relay"));
    bool both = f->relay != NULL && relay != NULL;
    bool other = both ? !same_but_ticket(f->relay, relay) : f->relay != relay;
    bool old = both && (now_s - f->relay_at >= RELAY_EVERY_S || now_s < f->relay_at);
    json_decref(root);
    if (!other && !old) {
        json_decref(relay);
        return false;
    }
    json_decref(f->relay);
    f->relay = relay;
    f->relay_at = now_s;
    return true;
}

enum err reportfile_relay(const struct reportfile *f, struct relaygrant *out, const char *id,
                          const char *zone, int64_t now_s)
{
    const json_t *ends = json_object_get(f->relay, "ticket_expires_at");
    if (f->relay == NULL || json_integer_value(ends) <= now_s)
        return ERR_NOTFOUND;
    json_t *root = json_pack("{sO}", "relay", f->relay);
    char *text = root != NULL ? json_dumps(root, JSON_COMPACT) : NULL;
    enum err e = text != NULL ? relaygrant_parse(out, span_str(text), id, zone) : ERR_NOTFOUND;
    free(text);
    json_decref(root);
    return e;
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
    json_t *root =
        json_pack("{ss ss sI sI sI sI sI so*}", "zone", c->zone, "server", c->server, "attempts",
                  (json_int_t)f->attempts, "retry_at", (json_int_t)f->retry_at, "busy_until",
                  (json_int_t)f->busy_until, "starts", (json_int_t)f->pace.starts, "started_at",
                  (json_int_t)f->pace.started_at, "tags", reportfile_tags(f, c, id));
    if (root != NULL && f->relay != NULL)
        (void)json_object_update_new(
            root, json_pack("{sO sI}", "relay", f->relay, "relay_at", (json_int_t)f->relay_at));
    return statefile_save(root, c->state_dir, STATEFILE_REPORT, info);
}

void reportfile_clear(struct reportfile *f)
{
    json_decref(f->relay);
    *f = (struct reportfile){ 0 };
}
