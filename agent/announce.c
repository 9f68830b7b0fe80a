#include "agent/announce.h"

#include <limits.h>
#include <unistd.h>

#include <jansson.h>

#include "agent/address.h"

#define HTTPS_PORT 443
#define ADDRESSES_MAX                                                                              \
    (ANNOUNCE_CONNECTIONS_MAX - 2) /* room for a port of the router, and a page                    \
                                    */

/* Where /v1/hello can be asked for over TLS at `ip`; 0: nowhere. */
static unsigned hello_port(const struct config *c, const struct ip *ip)
{
    for (size_t i = 0; i < c->n_pages; i++) {
        if (c->pages[i].secure && address_serves(&c->pages[i].listen, ip))
            return address_port(&c->pages[i].listen);
    }
    return 0;
}

static void add(json_t *list, const char *kind, const struct ip *ip, unsigned port, unsigned hello)
{
    char address[WORTH_TEXT_MAX];
    if (json_array_size(list) == ANNOUNCE_CONNECTIONS_MAX)
        return;
    worth_format(ip, address);
    json_t *o = json_pack("{ss ss si}", "kind", kind, "address", address, "port", (int)port);
    if (hello != 0 && hello != port)
        (void)json_object_set_new(o, "hello_port", json_integer((json_int_t)hello));
    (void)json_array_append_new(list, o);
}

static void add_address(json_t *list, const struct config *c, const struct worth_pick *pick)
{
    const char *kind = worth_kind_name(pick->kind);
    unsigned hello = hello_port(c, &pick->ip);
    if (c->n_proxies == 0)
        add(list, kind, &pick->ip, HTTPS_PORT, hello);
    for (size_t i = 0; i < c->n_proxies && json_array_size(list) < ADDRESSES_MAX; i++) {
        if (address_serves(&c->proxies[i].listen, &pick->ip))
            add(list, kind, &pick->ip, address_port(&c->proxies[i].listen), hello);
    }
}

/* Plain HTTP, so only where it does not leave the network. */
static void add_page(json_t *list, const struct config *c, const struct worth_pick *pick)
{
    for (size_t i = 0; i < c->n_pages && pick->kind != WORTH_GUA; i++) {
        if (!c->pages[i].secure && address_serves(&c->pages[i].listen, &pick->ip))
            add(list, "page", &pick->ip, address_port(&c->pages[i].listen), 0);
    }
}

static json_t *connections(const struct config *c, const struct portmap_connection *mapped)
{
    struct worth_pick picks[ADDRESS_MAX];
    size_t n = address_worth(c, picks, ADDRESS_MAX);
    json_t *list = json_array();
    for (size_t i = 0; i < n && json_array_size(list) < ADDRESSES_MAX; i++)
        add_address(list, c, &picks[i]);
    if (mapped != NULL)
        add(list, "mapped", &mapped->address, mapped->port, 0);
    for (size_t i = 0; i < n; i++)
        add_page(list, c, &picks[i]);
    return list;
}

json_t *announce_name(const struct config *c)
{
    char host[HOST_NAME_MAX + 1] = "";
    if (c->name == NULL)
        (void)gethostname(host, sizeof host - 1);
    return json_string(c->name != NULL ? c->name : host);
}

static json_t *loopback(const struct portmap_connection *mapped)
{
    if (mapped == NULL || mapped->loopback == PORTMAP_LOOPBACK_UNKNOWN)
        return json_null();
    return json_boolean(mapped->loopback == PORTMAP_LOOPBACK_YES);
}

/* "dns" and "rebinding" */
static void add_verdict(json_t *root, const struct resolverwatch *w, bool lasting)
{
    json_t *verdict = resolverwatch_to_json(w);
    json_t *dns = json_object_get(verdict, "dns");
    for (size_t i = 0; i < json_array_size(dns) && lasting; i++)
        (void)json_object_del(json_array_get(dns, i), "checked_at");
    if (verdict != NULL)
        (void)json_object_update(root, verdict);
    json_decref(verdict);
}

char *announce_json(const struct announce *a, bool lasting)
{
    json_t *pins = json_array();
    struct portmap_connection c;
    const struct portmap_connection *mapped =
        a->portmap != NULL && portmap_connection(a->portmap, &c) ? &c : NULL;
    if (a->fallback->pin[0] != 0)
        (void)json_array_append_new(pins, json_sprintf("sha256/%s", a->fallback->pin));
    json_t *root = json_pack("{so* sb so* so* so*}", "name", announce_name(a->config), "nearby",
                             a->config->nearby, "connections", connections(a->config, mapped),
                             "nat_loopback", loopback(mapped), "pins", pins);
    if (root != NULL)
        add_verdict(root, a->resolvers, lasting);
    if (root != NULL && a->relays != NULL) {
        json_t *failed = relaywatch_to_json(a->relays);
        (void)json_object_set_new(root, "relay", json_true());
        if (failed != NULL)
            (void)json_object_set_new(root, "relay_failed", failed);
    }
    char *text = root != NULL ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    return text;
}
