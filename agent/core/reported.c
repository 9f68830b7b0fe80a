#include "agent/core/reported.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define NEXT_MIN_S 300
#define NEXT_MAX_S 86400
#define NEXT_DEFAULT_S 21600

static bool parse_ip(struct ip *out, const json_t *v)
{
    const char *text = json_string_value(v);
    *out = (struct ip){ .family = 4 };
    if (text == NULL)
        return false;
    if (inet_pton(AF_INET, text, out->bytes) == 1)
        return true;
    out->family = 6;
    return inet_pton(AF_INET6, text, out->bytes) == 1;
}

static bool equal(const struct ip *a, const struct ip *b)
{
    return a->family == b->family && memcmp(a->bytes, b->bytes, a->family == 4 ? 4 : 16) == 0;
}

/* Whether `name` is p<tag>-<ip>.<id>.<zone>, with the address in our spelling; copies the label. */
static bool take_label(struct reported_tag *tag, const char *name, const char *id, const char *zone)
{
    char text[IPLABEL_TEXT_MAX], rest_of_name[320];
    struct span rest;
    size_t len = strcspn(name, ".");
    if (len >= sizeof tag->label)
        return false;
    (void)snprintf(tag->label, sizeof tag->label, "%.*s", (int)len, name);
    (void)snprintf(rest_of_name, sizeof rest_of_name, ".%s.%s", id, zone);
    iplabel_encode(&tag->ip, text);
    return tag_split(span_str(tag->label), &rest) && span_equal(rest, span_str(text)) &&
           strspn(tag->label + 1, "abcdefghijklmnopqrstuvwxyz234567") >= TAG_LEN &&
           strcasecmp(name + len, rest_of_name) == 0;
}

static void read_tags(struct reported *r, const json_t *list, const char *id, const char *zone)
{
    for (size_t i = 0; i < json_array_size(list) && r->n_tags < REPORTED_TAGS_MAX; i++) {
        const json_t *v = json_array_get(list, i);
        const char *name = json_string_value(json_object_get(v, "name"));
        struct reported_tag tag;
        if (name != NULL && parse_ip(&tag.ip, json_object_get(v, "address")) &&
            ip_classify(&tag.ip) == IP_PUBLIC && take_label(&tag, name, id, zone))
            r->tags[r->n_tags++] = tag;
    }
}

struct reported reported_from_json(const json_t *root, const char *id, const char *zone)
{
    struct reported r = { .next_report_s = NEXT_DEFAULT_S };
    if (!parse_ip(&r.observed, json_object_get(root, "observed")))
        r.observed = (struct ip){ 0 };
    read_tags(&r, json_object_get(root, "tags"), id, zone);
    const json_t *next = json_object_get(root, "next_report_s");
    if (json_is_integer(next))
        r.next_report_s = json_integer_value(next);
    r.next_report_s = r.next_report_s < NEXT_MIN_S   ? NEXT_MIN_S
                      : r.next_report_s > NEXT_MAX_S ? NEXT_MAX_S
                                                     : r.next_report_s;
    return r;
}

enum err reported_parse(struct reported *out, struct span body, const char *id, const char *zone)
{
    json_t *root = json_loadb((const char *)body.p, body.len, JSON_REJECT_DUPLICATES, NULL);
    bool is_object = json_is_object(root);
    if (is_object)
        *out = reported_from_json(root, id, zone);
    json_decref(root);
    return is_object ? ERR_OK : ERR_INVALID;
}

bool reported_is_ours(const struct reported *r, const struct ip *ip)
{
    return (r->observed.family != 0 && equal(&r->observed, ip)) || reported_label(r, ip) != NULL;
}

const char *reported_label(const struct reported *r, const struct ip *ip)
{
    for (size_t i = 0; i < r->n_tags; i++) {
        if (equal(&r->tags[i].ip, ip))
            return r->tags[i].label;
    }
    return NULL;
}
