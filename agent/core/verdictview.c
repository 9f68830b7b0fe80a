#include "agent/core/verdictview.h"

#include <string.h>

static const char *const SOURCES[] = {
    [SOURCE_CONFIGURED] = "configured",     [SOURCE_SYSTEM] = "resolv.conf",
    [SOURCE_UPSTREAM] = "systemd-resolved", [SOURCE_GATEWAY] = "router",
    [SOURCE_NETWORK] = "network",           [SOURCE_REFERENCE] = "zone",
};

static const char *const SUMMARIES[] = {
    [REBINDING_UNKNOWN] = "no resolver could be judged",
    [REBINDING_NO] = "private addresses are let pass",
    [REBINDING_YES] = "private addresses are kept back (rebinding protection)",
    [REBINDING_MIXED] = "some resolvers keep private addresses back, others do not",
};

static json_t *rebinding_to_json(enum verdict_rebinding r)
{
    if (r == REBINDING_MIXED)
        return json_string("mixed");
    return r == REBINDING_UNKNOWN ? json_null() : json_boolean(r == REBINDING_YES);
}

static json_t *ede_to_json(int ede)
{
    return ede < 0 ? json_null() : json_integer(ede);
}

static const char *likely(const struct verdict_resolver *v)
{
    return v->n_cures > 0 ? v->cures[0]->id : NULL;
}

json_t *verdict_to_json(const struct verdict_report *r, const uint8_t key[SIPHASH_KEY_LEN])
{
    json_t *list = json_array();
    for (size_t i = 0; i < r->n; i++) {
        const struct verdict_resolver *v = &r->list[i];
        char server[9];
        (void)snprintf(server, sizeof server, "%08x",
                       (unsigned)(siphash(key, v->address, strlen(v->address)) & 0xffffffffu));
        json_t *one = json_pack("{ss ss* ss* ss* so ss? sI}", "server", server, "class_v4",
                                verdict_class_name(v->v4), "class_ula", verdict_class_name(v->ula),
                                "class_gua", verdict_class_name(v->gua), "ede", ede_to_json(v->ede),
                                "product", likely(v), "checked_at", (json_int_t)r->checked_at);
        (void)json_array_append_new(list, one);
    }
    return json_pack("{so so}", "dns", list, "rebinding", rebinding_to_json(r->rebinding));
}

static json_t *ranges_to_json(const struct verdict_resolver *v)
{
    static const char *const RANGES[VERDICT_RANGES_N] = { "10.0.0.0/8", "172.16.0.0/12",
                                                          "192.168.0.0/16" };
    json_t *obj = json_object();
    for (size_t i = 0; i < VERDICT_RANGES_N; i++) {
        const char *name = verdict_class_name(v->ranges[i]);
        if (name != NULL)
            (void)json_object_set_new(obj, RANGES[i], json_string(name));
    }
    return obj;
}

/* Our own addresses may pass while those of the other family do not. */
static enum verdict_class worst(const struct verdict_resolver *v)
{
    return v->v4 == VERDICT_OK && verdict_is_filter(v->ula) ? v->ula : v->v4;
}

static json_t *resolver_detail(const struct verdict_resolver *v, const char *zone)
{
    json_t *cures = json_array();
    for (size_t i = 0; i < v->n_cures; i++)
        (void)json_array_append_new(cures, cure_to_json(v->cures[i], zone));
    return json_pack("{ss ss ss* ss* ss* so so ss ss so}", "address", v->address, "source",
                     SOURCES[v->source], "class_v4", verdict_class_name(v->v4), "class_ula",
                     verdict_class_name(v->ula), "class_gua", verdict_class_name(v->gua), "ranges",
                     ranges_to_json(v), "ede", ede_to_json(v->ede), "says", v->hints, "text",
                     verdict_class_text(worst(v)), "cures", cures);
}

json_t *verdict_detail(const struct verdict_report *r, bool running)
{
    json_t *list = json_array();
    for (size_t i = 0; i < r->n; i++)
        (void)json_array_append_new(list, resolver_detail(&r->list[i], r->zone));
    return json_pack("{sI sb ss ss so so}", "checked_at", (json_int_t)r->checked_at, "running",
                     running, "name", r->name, "text",
                     r->n == 0 ? "this device knows no resolver" : SUMMARIES[r->rebinding],
                     "rebinding", rebinding_to_json(r->rebinding), "list", list);
}

/* ---- text ----------------------------------------------------------------------------------- */

static const char *text_of(const json_t *obj, const char *key)
{
    const char *text = json_string_value(json_object_get(obj, key));
    return text != NULL ? text : "";
}

static void print_cure(const json_t *cure, FILE *out)
{
    const json_t *steps = json_object_get(cure, "steps");
    (void)fprintf(out, "  cure       %s:\n", text_of(cure, "title"));
    for (size_t i = 0; i < json_array_size(steps); i++)
        (void)fprintf(out, "             %s\n", json_string_value(json_array_get(steps, i)));
    for (const char *line = text_of(cure, "paste"); *line != 0;) {
        int len = (int)strcspn(line, "\n");
        (void)fprintf(out, "                 %.*s\n", len, line);
        line += len + (line[len] != 0);
    }
}

static void print_resolver(const json_t *r, bool all, FILE *out)
{
    const json_t *cures = json_object_get(r, "cures");
    size_t n = json_array_size(cures);
    (void)fprintf(out, "resolver     %s (%s) %s\n", text_of(r, "address"), text_of(r, "source"),
                  text_of(r, "text"));
    for (size_t i = 0; i < n && (all || i == 0); i++)
        print_cure(json_array_get(cures, i), out);
    if (n > 1 && !all)
        (void)fprintf(out, "             Not that product? `lanyard-agent probe` names others.\n");
}

void verdict_print(const json_t *detail, bool all, FILE *out)
{
    const json_t *list = json_object_get(detail, "list");
    if (!json_is_array(list)) /* none yet */
        return;
    (void)fprintf(out, "names        %s\n", text_of(detail, "text"));
    for (size_t i = 0; i < json_array_size(list); i++)
        print_resolver(json_array_get(list, i), all, out);
}
