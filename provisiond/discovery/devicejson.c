#include "provisiond/discovery/devicejson.h"

#include <stdio.h>
#include <string.h>

#include "common/cure/cure.h"

#define ONLINE_S (2 * (int64_t)REPORT_EVERY_S) /* one report may be lost */
#define URI_MAX 512

bool devicejson_is_near(const struct devicejson *d)
{
    char ours[NETWORK_TEXT_MAX], theirs[NETWORK_TEXT_MAX];
    network_text(d->visitor, theirs);
    for (size_t i = 0; i < d->n_observed; i++) {
        network_text(&d->observed[i].ip, ours);
        if (strcmp(ours, theirs) == 0)
            return true;
    }
    return false;
}

/* The label of an address; false where it may have none. */
static bool make_label(const struct devicejson *d, const struct ip *ip, char out[TAG_LABEL_MAX])
{
    switch (ip_classify(ip)) {
    case IP_PRIVATE:
    case IP_LOOPBACK: /* where the zone has names for it, as in tests */
        iplabel_encode(ip, out);
        return true;
    case IP_PUBLIC:
        if (d->tag_keys == NULL)
            return false;
        tagkeys_label(d->tag_keys, out, span_str(d->id), ip);
        return true;
    case IP_FORBIDDEN:
        break;
    }
    return false;
}

static json_t *connection_json(const struct devicejson *d, const struct reportbody_connection *c)
{
    char label[TAG_LABEL_MAX], uri[URI_MAX], address[NETWORK_TEXT_MAX];
    if (!make_label(d, &c->ip, label))
        return NULL;
    network_address_text(&c->ip, address);
    (void)snprintf(uri, sizeof uri, "https://%s.%s.%s:%u", label, d->id, d->zone, c->port);
    json_t *o = json_pack("{s:s, s:s, s:i, s:s, s:b, s:b, s:b}", "uri", uri, "address", address,
                          "port", c->port, "kind", reportbody_kind_name(c->kind), "local",
                          c->kind == REPORTBODY_LAN || c->kind == REPORTBODY_ULA, "relay", 0,
                          "IPv6", c->ip.family == 6);
    if (o != NULL && c->hello_port != 0)
        (void)json_object_set_new(o, "hello_port", json_integer(c->hello_port));
    return o;
}

/* The rungs of the ladder: those of one are raced by who tries them. */
static void add_rung(const struct devicejson *d, json_t *list, enum reportbody_kind a,
                     enum reportbody_kind b)
{
    for (size_t i = 0; i < d->report->n_connections; i++) {
        const struct reportbody_connection *c = &d->report->connections[i];
        json_t *o = c->kind == a || c->kind == b ? connection_json(d, c) : NULL;
        if (o != NULL)
            (void)json_array_append_new(list, o);
    }
}

/* The last one: slower than all others, and it works from everywhere. */
static void add_relay(const struct devicejson *d, json_t *list)
{
    char uri[URI_MAX], address[NETWORK_TEXT_MAX];
    if (!d->report->relay || d->relay_host == NULL)
        return;
    network_address_text(d->relay_ip, address);
    (void)snprintf(uri, sizeof uri, "https://%s:%u", d->relay_host, d->relay_port);
    json_t *o = json_pack("{s:s, s:s, s:i, s:s, s:b, s:b, s:b}", "uri", uri, "address", address,
                          "port", d->relay_port, "kind", "relay", "local", 0, "relay", 1, "IPv6",
                          d->relay_ip->family == 6);
    if (o != NULL)
        (void)json_array_append_new(list, o);
}

static json_t *connections_json(const struct devicejson *d)
{
    json_t *list = json_array();
    if (d->report == NULL || list == NULL)
        return list;
    add_rung(d, list, REPORTBODY_GUA, REPORTBODY_GUA);
    add_rung(d, list, REPORTBODY_LAN, REPORTBODY_ULA);
    /* from inside, the router must bring it back in */
    if (d->report->nat_loopback == REPORTBODY_YES || !devicejson_is_near(d))
        add_rung(d, list, REPORTBODY_MAPPED, REPORTBODY_MAPPED);
    add_relay(d, list);
    return list;
}

static json_t *answer_json(enum reportbody_answer a)
{
    return a == REPORTBODY_YES     ? json_true()
           : a == REPORTBODY_NO    ? json_false()
           : a == REPORTBODY_MIXED ? json_string("mixed")
                                   : json_null();
}

/* The device's own page, for a person to open. */
static json_t *page_json(const struct reportbody *r)
{
    for (size_t i = 0; i < r->n_connections; i++) {
        const struct reportbody_connection *c = &r->connections[i];
        char address[NETWORK_TEXT_MAX], url[URI_MAX];
        if (c->kind != REPORTBODY_PAGE)
            continue;
        network_address_text(&c->ip, address);
        (void)snprintf(url, sizeof url, c->ip.family == 6 ? "http://[%s]:%u/" : "http://%s:%u/",
                       address, c->port);
        return json_string(url);
    }
    return json_null();
}

static json_t *pins_json(const struct reportbody *r)
{
    json_t *list = json_array();
    for (size_t i = 0; i < r->n_pins; i++)
        (void)json_array_append_new(list, json_string(r->pins[i]));
    return list;
}

/* What filters in that home, and what to do about it. */
static void set_cure(json_t *o, const struct devicejson *d)
{
    const struct reportbody *r = d->report;
    const char *product = "";
    for (size_t i = 0; i < r->n_dns && product[0] == 0; i++)
        product = r->dns[i].product;
    const struct cure *cure = cure_find(product);
    bool filtered = r->rebinding == REPORTBODY_YES || r->rebinding == REPORTBODY_MIXED;
    if (cure == NULL && filtered)
        cure = cure_find("other");
    (void)json_object_set_new(o, "product", product[0] != 0 ? json_string(product) : json_null());
    (void)json_object_set_new(o, "cure", cure != NULL ? cure_to_json(cure, d->zone) : json_null());
}

/* The same shape for a device that has said nothing yet. */
static const struct reportbody NOTHING = { .name = "" };

json_t *devicejson_make(const struct devicejson *d)
{
    struct devicejson full = *d;
    full.report = d->report != NULL ? d->report : &NOTHING;
    const struct reportbody *r = full.report;
    bool online = d->report != NULL && d->now_s - d->seen_at <= ONLINE_S;
    json_t *o = json_pack(
        "{s:s, s:s, s:s, s:I, s:b, s:b, s:o, s:o, s:o, s:o, s:o}", "id", d->id, "zone", d->zone,
        "name", r->name, "last_seen_at", (json_int_t)d->seen_at, "online", online,
        "publicAddressMatches", devicejson_is_near(&full), "dnsRebindingProtection",
        answer_json(r->rebinding), "natLoopbackSupported", answer_json(r->nat_loopback), "pins",
        pins_json(r), "connections", connections_json(&full), "page", page_json(r));
    if (o != NULL)
        set_cure(o, &full);
    return o;
}
