#include "agent/core/relaygrant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <jansson.h>

#define HTTPS_PORT 443

/* Printable text without blanks, which fits. */
static bool copy(char *out, size_t cap, const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    if (text == NULL || text[0] == 0 || strlen(text) >= cap)
        return false;
    for (const char *p = text; *p != 0; p++) {
        if (*p <= ' ' || *p > '~')
            return false;
    }
    (void)snprintf(out, cap, "%s", text);
    return true;
}

/* The port of "host:port" (0: it has none), and the length of its host. */
static uint16_t port_of(const char *end, size_t *host_len)
{
    const char *colon = strrchr(end, ':');
    char *rest;
    if (colon == NULL || colon == end || colon[1] < '1' || colon[1] > '9')
        return 0;
    long port = strtol(colon + 1, &rest, 10);
    *host_len = (size_t)(colon - end);
    return *rest == 0 && port <= UINT16_MAX ? (uint16_t)port : 0;
}

static bool has_host(const char *end)
{
    static const char ALLOWED[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]";
    return strspn(end, ALLOWED) == strlen(end);
}

static bool read_ends(struct relaygrant *g, const json_t *o)
{
    char data[RELAYGRANT_END_MAX];
    size_t control_host = 0, data_host = 0;
    if (!copy(g->control, sizeof g->control, o, "control") || !copy(data, sizeof data, o, "data") ||
        !has_host(g->control) || port_of(g->control, &control_host) == 0)
        return false;
    g->data_port = port_of(data, &data_host);
    return g->data_port != 0 && control_host == data_host &&
           strncasecmp(g->control, data, data_host) == 0;
}

/* "<one label>.<id>.<zone>" and the port. */
static bool read_url(struct relaygrant *g, const json_t *o, const char *id, const char *zone)
{
    char host[256], own[256];
    json_int_t port = json_integer_value(json_object_get(o, "port"));
    if (!copy(host, sizeof host, o, "host") || !has_host(host) || port < 1 || port > UINT16_MAX)
        return false;
    (void)snprintf(own, sizeof own, ".%s.%s", id, zone);
    size_t label = strcspn(host, ".");
    if (label == 0 || strcasecmp(host + label, own) != 0)
        return false;
    if (port == HTTPS_PORT)
        (void)snprintf(g->url, sizeof g->url, "https://%s/", host);
    else
        (void)snprintf(g->url, sizeof g->url, "https://%s:%d/", host, (int)port);
    return true;
}

static bool read_id(struct relaygrant *g, const json_t *o)
{
    return copy(g->id.text, sizeof g->id.text, o, "id") && devid_is_valid(span_str(g->id.text));
}

enum err relaygrant_parse(struct relaygrant *out, struct span body, const char *id,
                          const char *zone)
{
    struct relaygrant g = { .name = "" };
    json_t *root = json_loadb((const char *)body.p, body.len, JSON_REJECT_DUPLICATES, NULL);
    const json_t *o = json_object_get(root, "relay");
    enum err e = ERR_INVALID;
    if (json_is_object(root) && (o == NULL || json_is_null(o)))
        e = ERR_NOTFOUND;
    else if (copy(g.name, sizeof g.name, o, "name") && read_id(&g, o) && read_ends(&g, o) &&
             copy(g.ticket, sizeof g.ticket, o, "ticket") && read_url(&g, o, id, zone))
        e = ERR_OK;
    json_decref(root);
    if (e == ERR_OK)
        *out = g;
    return e;
}

bool relaygrant_same(const struct relaygrant *a, const struct relaygrant *b)
{
    return strcmp(a->name, b->name) == 0 && strcmp(a->id.text, b->id.text) == 0 &&
           strcmp(a->control, b->control) == 0 && a->data_port == b->data_port;
}
