#include "provisiond/admin/delegation.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "provisiond/admin/dnsask.h"

#define DNS_PORT 53
#define SERVERS_MAX 13 /* of the parent that are asked */

struct parent {
    size_t n;
    struct addr server[SERVERS_MAX];
};

/* What was found at all of the parent's servers together. */
struct view {
    const struct delegation *d;
    struct dnsask own; /* the zone's NS records as it has them */
    struct dnsask_referral referral;
    size_t n_same, n_silent;
    struct err_info silence; /* of the last that did not answer */
};

static bool is_public(const char *text)
{
    struct in_addr a;
    struct in6_addr a6;
    if (inet_pton(AF_INET, text, &a) == 1) {
        uint32_t h = ntohl(a.s_addr);
        return !(h >> 24 == 10 || h >> 24 == 127 || h >> 24 == 0 || h >> 20 == 0xac1 ||
                 h >> 16 == 0xc0a8 || h >> 16 == 0xa9fe || h >> 22 == 0x191 || h >> 28 >= 0xe);
    }
    return inet_pton(AF_INET6, text, &a6) == 1 && (a6.s6_addr[0] & 0xe0) == 0x20; /* 2000::/3 */
}

static bool has(const struct dnsask *a, const char *text)
{
    for (size_t i = 0; i < a->n; i++) {
        if (strcasecmp(a->text[i], text) == 0)
            return true;
    }
    return false;
}

static bool is_within(const char *host, const char *zone)
{
    size_t n = strlen(host), z = strlen(zone);
    return n >= z && strcasecmp(host + n - z, zone) == 0 && (n == z || host[n - z - 1] == '.');
}

/* --- finding the parent --- */

static void add_server(struct parent *p, const char *address)
{
    char text[INET6_ADDRSTRLEN + 16];
    struct addr a;
    (void)snprintf(text, sizeof text, strchr(address, ':') != NULL ? "[%s]:%d" : "%s:%d", address,
                   DNS_PORT);
    if (p->n < SERVERS_MAX && addr_parse(&a, text, NULL) == ERR_OK)
        p->server[p->n++] = a;
}

/* The servers of the nearest name above the zone that is a zone. */
static enum err find_parent(const struct delegation *d, struct parent *out, struct err_info *info)
{
    static const enum dnsask_type TYPES[] = { DNSASK_A, DNSASK_AAAA };
    struct dnsask ns = { .n = 0 }, addresses;
    const char *name = d->zone->name;
    enum err e = ERR_OK;
    while (ns.n == 0 && e == ERR_OK && (name = strchr(name, '.')) != NULL) {
        name++;
        e = dnsask(d->resolver, name, DNSASK_NS, &ns, info);
    }
    if (ns.n == 0 && e == ERR_OK) /* a zone directly below the root */
        e = dnsask(d->resolver, ".", DNSASK_NS, &ns, info);
    for (size_t i = 0; i < ns.n && e == ERR_OK; i++) {
        for (size_t t = 0; t < ARRAY_LEN(TYPES); t++) {
            if (dnsask(d->resolver, ns.text[i], TYPES[t], &addresses, info) == ERR_OK &&
                addresses.n > 0)
                add_server(out, addresses.text[0]);
        }
    }
    return e;
}

/* --- one of its servers --- */

/* The addresses that the parent hands out for a server inside the zone against the zone's own. */
static bool check_handed_out(struct view *v, const char *server, const char *host)
{
    static const enum dnsask_type TYPES[] = { DNSASK_A, DNSASK_AAAA };
    const struct config_zone *z = v->d->zone;
    struct err_info info = { "" };
    struct dnsask own = { .n = 0 }, more = { .n = 0 };
    size_t n = 0;
    if (dnsask(&z->nameservers[0], host, TYPES[0], &own, &info) != ERR_OK)
        own.n = 0;
    if (dnsask(&z->nameservers[0], host, TYPES[1], &more, &info) != ERR_OK)
        more.n = 0;
    for (size_t i = 0; i < v->referral.n_glue; i++) {
        const char *address = v->referral.glue[i].address;
        if (strcasecmp(v->referral.glue[i].host, host) != 0)
            continue;
        n++;
        if (!has(&own, address) && !has(&more, address)) {
            findings_add(v->d->found, FINDING_FAIL, "glue", z->name,
                         "%s of the parent hands out %s for %s, which the zone does not", server,
                         address, host);
            return false;
        }
    }
    if (n == 0)
        findings_add(v->d->found, FINDING_FAIL, "glue", z->name,
                     "%s of the parent has no address for %s, which is inside the zone: nobody "
                     "can find it",
                     server, host);
    return n > 0;
}

static bool check_referral(struct view *v, const char *server)
{
    const struct dnsask_referral *r = &v->referral;
    const struct config_zone *z = v->d->zone;
    bool same = true;
    if (r->n_ns == 0) {
        findings_add(v->d->found, FINDING_FAIL, "delegation", z->name,
                     "%s of the parent has no NS records for the zone", server);
        return false;
    }
    for (size_t i = 0; i < r->n_ns; i++)
        same = same && has(&v->own, r->ns[i]);
    if (!same || r->n_ns != v->own.n) {
        findings_add(v->d->found, FINDING_FAIL, "delegation", z->name,
                     "%s of the parent names %zu name servers that differ from the zone's own %zu",
                     server, r->n_ns, v->own.n);
        return false;
    }
    for (size_t i = 0; i < r->n_ns && same; i++) {
        if (is_within(r->ns[i], z->name))
            same = check_handed_out(v, server, r->ns[i]);
    }
    return same;
}

static void ask_parent(struct view *v, const struct addr *server)
{
    const struct config_zone *z = v->d->zone;
    char text[ADDR_TEXT_MAX];
    struct err_info info = { "" };
    addr_format(server, text);
    enum err e = dnsask_referral(server, z->name, &v->referral, &info);
    if (e == ERR_OK) {
        v->n_same += check_referral(v, text);
    } else if (e == ERR_NOTFOUND) {
        findings_add(v->d->found, FINDING_FAIL, "delegation", z->name,
                     "%s of the parent says that there is no such name", text);
    } else {
        v->n_silent++;
        v->silence = info;
    }
}

/* --- the whole --- */

/* Whether the Internet can reach the addresses of a name server, as far as anybody tells them. */
static void check_addresses(const struct view *v, const char *host)
{
    static const enum dnsask_type TYPES[] = { DNSASK_A, DNSASK_AAAA };
    const struct config_zone *z = v->d->zone;
    const struct addr *server = is_within(host, z->name) ? &z->nameservers[0] : v->d->resolver;
    struct err_info info = { "" };
    struct dnsask a;
    size_t n = 0;
    for (size_t t = 0; t < ARRAY_LEN(TYPES) && server != NULL; t++) {
        if (dnsask(server, host, TYPES[t], &a, &info) != ERR_OK)
            continue;
        for (size_t i = 0; i < a.n; i++, n++) {
            if (!is_public(a.text[i]))
                findings_add(v->d->found, FINDING_FAIL, "glue", z->name,
                             "name server %s has the address %s, which the Internet cannot reach",
                             host, a.text[i]);
        }
    }
    if (server == NULL)
        return;
    findings_add(v->d->found, n == 0 ? FINDING_FAIL : FINDING_PASS, "glue", z->name,
                 "name server %s has %zu address%s%s%s", host, n, n == 1 ? "" : "es",
                 n == 0 && info.text[0] != 0 ? ": " : "", n == 0 ? info.text : "");
}

static void conclude(const struct view *v, size_t n_asked)
{
    const char *zone = v->d->zone->name;
    if (v->n_same > 0)
        findings_add(v->d->found, FINDING_PASS, "delegation", zone,
                     "%zu of the parent's servers name the zone's own %zu name servers", v->n_same,
                     v->own.n);
    if (v->n_silent > 0)
        findings_add(v->d->found, v->n_silent == n_asked ? FINDING_FAIL : FINDING_WARN,
                     "delegation", zone, "%zu of %zu servers of the parent do not answer: %s",
                     v->n_silent, n_asked, v->silence.text);
    for (size_t i = 0; i < v->own.n; i++)
        check_addresses(v, v->own.text[i]);
}

void delegation_check(const struct delegation *d)
{
    const struct config_zone *z = d->zone;
    struct view v = { .d = d };
    struct parent parent = { .n = 0 };
    struct err_info info = { "" };
    if (z->n_nameservers == 0)
        return;
    if (d->resolver == NULL && d->n_parents == 0) {
        findings_add(d->found, FINDING_WARN, "delegation", z->name,
                     "not looked at: name a resolver by --resolver ADDRESS:PORT");
        return;
    }
    if (dnsask(&z->nameservers[0], z->name, DNSASK_NS, &v.own, &info) != ERR_OK || v.own.n == 0) {
        findings_add(d->found, FINDING_FAIL, "delegation", z->name,
                     "our own name server gives no NS records: %s",
                     info.text[0] != 0 ? info.text : "the zone has none");
        return;
    }
    enum err e = d->n_parents == 0 ? find_parent(d, &parent, &info) : ERR_OK;
    if (d->n_parents == 0 && parent.n == 0) {
        findings_add(d->found, FINDING_FAIL, "delegation", z->name,
                     "the resolver does not find the servers of the parent: %s",
                     e != ERR_OK || info.text[0] != 0 ? info.text : "they have no addresses");
        return;
    }
    const struct addr *servers = d->n_parents > 0 ? d->parents : parent.server;
    size_t n = d->n_parents > 0 ? d->n_parents : parent.n;
    for (size_t i = 0; i < n; i++)
        ask_parent(&v, &servers[i]);
    conclude(&v, n);
}
