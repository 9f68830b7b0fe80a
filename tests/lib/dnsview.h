/* dnsview.h - a view for tests of the answer path: three zones, their records read by ldns.
 * direct.example has everything and a challenge store, open.example answers all addresses and has
 * no store, but tag keys, a suspended list and accounts that may issue, sub.direct.example is a
 * zone below another one. */
#ifndef LANYARD_TESTS_DNSVIEW_H
#define LANYARD_TESTS_DNSVIEW_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ldns/ldns.h>

#include "common/base/attr.h"
#include "dnsd/core/persist.h"
#include "dnsd/core/query.h"

#define DNSVIEW_ID "abcdefghijklmnopqrstuvwxyz234567"

static const char *const DNSVIEW_DIRECT[] = {
    ("direct.example. 600 IN SOA ns1.direct.example. hostmaster.direct.example. 7 7200 3600 "
     "1209600 "
     "300"),
    "direct.example. 900 IN NS ns1.direct.example.",
    "direct.example. 900 IN NS ns.elsewhere.test.",
    "direct.example. 900 IN CAA 0 issue \"ca.test\"",
    "ns1.direct.example. 900 IN A 192.88.99.1",
    "ns1.direct.example. 900 IN AAAA 3ffe::1",
    "www.direct.example. 60 IN CNAME Ns1.direct.example.",
    "away.direct.example. 60 IN CNAME www.elsewhere.test.",
    "subbed.direct.example. 60 IN CNAME www.sub.direct.example.",
    "gone.direct.example. 60 IN CNAME missing.direct.example.",
    "home.direct.example. 60 IN CNAME 10-0-0-5." DNSVIEW_ID ".direct.example.",
    "chal.direct.example. 60 IN CNAME _acme-challenge." DNSVIEW_ID ".direct.example.",
    "loop-a.direct.example. 60 IN CNAME loop-b.direct.example.",
    "loop-b.direct.example. 60 IN CNAME loop-a.direct.example.",
    "deep.ent.direct.example. 60 IN TXT \"deep\"",
    "acme.direct.example. 60 IN NS ns1.acme.direct.example.",
    "acme.direct.example. 60 IN NS ns1.direct.example.",
    ("acme.direct.example. 60 IN DS 1 13 2 "
     "0000000000000000000000000000000000000000000000000000000000000000"),
    "ns1.acme.direct.example. 60 IN A 192.88.99.7",
    "sub.direct.example. 60 IN NS ns1.direct.example.",
};
static const char *const DNSVIEW_OPEN[] = {
    ("open.example. 3600 IN SOA ns.elsewhere.test. hostmaster.open.example. 1 7200 3600 1209600 "
     "3600"),
    "open.example. 3600 IN NS ns.elsewhere.test.",
};
static const char *const DNSVIEW_SUB[] = {
    ("sub.direct.example. 3600 IN SOA ns1.direct.example. hostmaster.direct.example. 1 7200 3600 "
     "1209600 3600"),
    "sub.direct.example. 3600 IN NS ns1.direct.example.",
    "www.sub.direct.example. 3600 IN A 192.88.99.9",
};

static void dnsview_die(const char *what)
{
    fprintf(stderr, "dnsview: %s\n", what);
    abort();
}

/* One record in presentation form; what zone_add() says. */
static inline enum err dnsview_add(struct zone *z, const char *text, struct err_info *info)
{
    ldns_rr *rr = NULL;
    uint8_t data[65535];
    size_t len = 0;
    struct name owner;
    if (ldns_rr_new_frm_str(&rr, text, 3600, NULL, NULL) != LDNS_STATUS_OK)
        dnsview_die(text);
    const ldns_rdf *o = ldns_rr_owner(rr);
    if (name_read(&owner, (struct span){ ldns_rdf_data(o), ldns_rdf_size(o) }) != ERR_OK)
        dnsview_die(text);
    for (size_t i = 0; i < ldns_rr_rd_count(rr); i++) {
        const ldns_rdf *f = ldns_rr_rdf(rr, i);
        memcpy(data + len, ldns_rdf_data(f), ldns_rdf_size(f));
        len += ldns_rdf_size(f);
    }
    enum err e = zone_add(z, &owner, ldns_rr_get_type(rr), ldns_rr_ttl(rr),
                          (struct span){ data, len }, info);
    ldns_rr_free(rr);
    return e;
}

static inline struct zone *dnsview_zone(const char *apex, const char *const *records, size_t n)
{
    struct zone *z = NULL;
    struct name name;
    if (name_parse(&name, apex) != ERR_OK || zone_new(&z, &name) != ERR_OK)
        dnsview_die(apex);
    for (size_t i = 0; i < n; i++) {
        if (dnsview_add(z, records[i], NULL) != ERR_OK)
            dnsview_die(records[i]);
    }
    return z;
}

/* n TXT records of 200 bytes each at big.direct.example. */
static inline void dnsview_add_big(struct zone *z, unsigned n)
{
    struct name owner;
    uint8_t data[201];
    if (name_parse(&owner, "big.direct.example") != ERR_OK)
        dnsview_die("big");
    memset(data, 'x', sizeof data);
    data[0] = 200;
    for (unsigned i = 0; i < n; i++) {
        data[1] = (uint8_t)('a' + i);
        if (zone_add(z, &owner, RR_TXT, 60, (struct span){ data, sizeof data }, NULL) != ERR_OK)
            dnsview_die("big");
    }
}

/* Tag keys and a suspended list for `zone`: key 00..0f, the second; an id of 'z' only, and a range.
 */
static inline void dnsview_guard(struct view *v, const struct zone *zone)
{
    static const char LIST[] = "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz\n10.66.0.0/16\nfd66::/16\n";
    struct guard *g = &v->guards[zone->number];
    unsigned line;
    g->tag_keys = calloc(1, sizeof *g->tag_keys);
    if (g->tag_keys == NULL ||
        suspended_parse(&g->suspended, span_str(LIST), 1, &line, NULL) != ERR_OK)
        dnsview_die("guard");
    g->tag_keys->n = 2;
    for (unsigned i = 0; i < SIPHASH_KEY_LEN; i++)
        g->tag_keys->keys[1][i] = (uint8_t)i;
}

/* Accounts that may issue for all ids of `zone`, not in the order in which they are signed. */
static inline void dnsview_persist(struct view *v, const struct zone *zone)
{
    static const char LIST[] = "ca.test https://ca.test/acct/2\n"
                               "ca.test https://ca.test/acct/1\n"
                               "other.test https://other.test/9\n";
    unsigned line;
    if (persist_parse(&v->guards[zone->number].persist, span_str(LIST), &line, NULL) != ERR_OK)
        dnsview_die("persist");
}

/* The view; view_free() it. */
static inline struct view *dnsview_new(void)
{
    struct zone **zones = calloc(3, sizeof(struct zone *));
    struct view *v = NULL;
    if (zones == NULL)
        dnsview_die("out of memory");
    zones[0] = dnsview_zone("direct.example", DNSVIEW_DIRECT, ARRAY_LEN(DNSVIEW_DIRECT));
    zones[0]->challenges = strdup("sqlite:challenges.db");
    dnsview_add_big(zones[0], 20);
    zones[1] = dnsview_zone("open.example", DNSVIEW_OPEN, ARRAY_LEN(DNSVIEW_OPEN));
    zones[1]->policy =
        (struct synth_policy){ .public_answers = SYNTH_PUBLIC_ALL, .loopback = true };
    zones[2] = dnsview_zone("sub.direct.example", DNSVIEW_SUB, ARRAY_LEN(DNSVIEW_SUB));
    for (size_t i = 0; i < 3; i++) {
        if (zone_finish(zones[i], NULL) != ERR_OK)
            dnsview_die("zone_finish");
    }
    const struct zone *open = zones[1];
    if (view_new(&v, zones, 3) != ERR_OK)
        dnsview_die("view_new");
    dnsview_guard(v, open);
    dnsview_persist(v, open);
    return v;
}

#endif
