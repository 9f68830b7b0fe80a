#include "dnsd/core/zone.h"

#include <stdlib.h>
#include <string.h>

#include "common/dns/wire.h"

#define SOA_NUMBERS_LEN 20 /* serial, refresh, retry, expire, minimum: the end of the data */

#define NODES_MAX 1000000
#define SETS_MAX 64         /* types of one name */
#define RRSET_LEN_MAX 32768 /* bytes of one set: it has to fit a message over TCP */

enum err zone_new(struct zone **out, const struct name *apex)
{
    struct zone *z = calloc(1, sizeof *z);
    if (z == NULL)
        return ERR_NOMEM;
    z->apex = *apex;
    name_format(apex, z->text);
    *out = z;
    return ERR_OK;
}

void zone_free(struct zone *z)
{
    if (z == NULL)
        return;
    for (size_t i = 0; i < z->n_nodes; i++) {
        for (size_t k = 0; k < z->nodes[i].n_sets; k++) {
            free(z->nodes[i].sets[k].rrs);
        }
        free(z->nodes[i].sets);
        free(z->nodes[i].glue);
        free(z->nodes[i].name);
    }
    free(z->nodes);
    free(z->index);
    free(z->challenges);
    free(z->challenges_of);
    free(z->challenges_cname);
    keyring_free(z->keyring);
    free(z);
}

/* The place in the index of `wire`, or the free one where it would go. The index has free places.
 */
static size_t find_slot(const struct zone *z, struct span wire)
{
    size_t mask = z->n_index - 1;
    for (size_t i = name_hash(wire) & mask;; i = (i + 1) & mask) {
        uint32_t number = z->index[i];
        if (number == 0)
            return i;
        const struct zone_node *n = &z->nodes[number - 1];
        if (n->len == wire.len && memcmp(n->name, wire.p, wire.len) == 0)
            return i;
    }
}

const struct zone_node *zone_find(const struct zone *z, struct span wire)
{
    uint32_t number = z->n_index == 0 ? 0 : z->index[find_slot(z, wire)];
    return number == 0 ? NULL : &z->nodes[number - 1];
}

const struct rrset *node_rrset(const struct zone_node *n, unsigned type)
{
    for (size_t i = 0; i < n->n_sets; i++) {
        if (n->sets[i].type == type)
            return &n->sets[i];
    }
    return NULL;
}

/* Room for one more node. */
static enum err grow(struct zone *z)
{
    if (z->n_nodes == NODES_MAX)
        return ERR_LIMIT;
    if (2 * (z->n_nodes + 1) <= z->n_index)
        return ERR_OK;
    size_t n_index = z->n_index == 0 ? 16 : 2 * z->n_index;
    struct zone_node *nodes = realloc(z->nodes, n_index / 2 * sizeof *nodes);
    if (nodes == NULL)
        return ERR_NOMEM;
    z->nodes = nodes;
    uint32_t *index = calloc(n_index, sizeof *index);
    if (index == NULL)
        return ERR_NOMEM;
    free(z->index);
    z->index = index;
    z->n_index = n_index;
    for (size_t i = 0; i < z->n_nodes; i++)
        index[find_slot(z, (struct span){ nodes[i].name, nodes[i].len })] = (uint32_t)(i + 1);
    return ERR_OK;
}

/* The node of `wire`, made where missing. Borrowed until the next call. */
static enum err ensure_node(struct zone *z, struct span wire, struct zone_node **out)
{
    enum err e = grow(z);
    if (e != ERR_OK)
        return e;
    size_t slot = find_slot(z, wire);
    if (z->index[slot] == 0) {
        uint8_t *name = malloc(wire.len);
        if (name == NULL)
            return ERR_NOMEM;
        memcpy(name, wire.p, wire.len);
        z->nodes[z->n_nodes] = (struct zone_node){ .name = name, .len = (uint8_t)wire.len };
        z->index[slot] = (uint32_t)++z->n_nodes;
    }
    *out = &z->nodes[z->index[slot] - 1];
    return ERR_OK;
}

static enum err ensure_set(struct zone_node *n, unsigned type, struct rrset **out)
{
    for (size_t i = 0; i < n->n_sets; i++) {
        if (n->sets[i].type == type) {
            *out = &n->sets[i];
            return ERR_OK;
        }
    }
    if (n->n_sets == SETS_MAX)
        return ERR_LIMIT;
    struct rrset *sets = realloc(n->sets, (n->n_sets + 1u) * sizeof *sets);
    if (sets == NULL)
        return ERR_NOMEM;
    n->sets = sets;
    *out = &sets[n->n_sets++];
    **out = (struct rrset){ .type = (uint16_t)type, .ttl_s = UINT32_MAX };
    return ERR_OK;
}

static void set_ttl(struct rrset *set, uint32_t ttl_s)
{
    set->ttl_s = ttl_s;
    for (size_t at = 0; at < set->len; at += ZONE_RR_HEAD + wire_load16(set->rrs + at + 10))
        wire_store32(set->rrs + at + 6, ttl_s);
}

static bool set_has(const struct rrset *set, struct span data)
{
    for (size_t at = 0; at < set->len; at += ZONE_RR_HEAD + wire_load16(set->rrs + at + 10)) {
        struct span have = { set->rrs + at + ZONE_RR_HEAD, wire_load16(set->rrs + at + 10) };
        if (span_equal(have, data))
            return true;
    }
    return false;
}

static enum err append(struct rrset *set, uint32_t ttl_s, struct span data)
{
    if (ttl_s > INT32_MAX) /* counts as zero [RFC 2181 s8] */
        ttl_s = 0;
    if (ttl_s < set->ttl_s)
        set_ttl(set, ttl_s);
    if (set_has(set, data))
        return ERR_OK;
    if (set->len + ZONE_RR_HEAD + data.len > RRSET_LEN_MAX)
        return ERR_LIMIT;
    uint8_t *rrs = realloc(set->rrs, set->len + ZONE_RR_HEAD + data.len);
    if (rrs == NULL)
        return ERR_NOMEM;
    set->rrs = rrs;
    uint8_t *p = rrs + set->len;
    wire_store16(p, DNS_POINTER | DNS_HEADER_LEN);
    wire_store16(p + 2, set->type);
    wire_store16(p + 4, RR_CLASS_IN);
    wire_store32(p + 6, set->ttl_s);
    wire_store16(p + 10, (unsigned)data.len);
    if (data.len > 0)
        memcpy(p + ZONE_RR_HEAD, data.p, data.len);
    set->len += ZONE_RR_HEAD + data.len;
    set->n++;
    return ERR_OK;
}

static enum err check_owner(const struct zone *z, const struct name *owner, struct err_info *info)
{
    if (!name_is_within(owner, &z->apex))
        return err_set(info, ERR_CONFIG,
                       "the name is outside zone %s: a missing final dot, or another zone's record",
                       z->text);
    unsigned depth = (unsigned)(owner->n_labels - z->apex.n_labels);
    for (unsigned i = 0; i < depth; i++) {
        if (span_equal(name_label(owner, i), span_str("*")))
            return err_set(info, ERR_CONFIG, "wildcards are not served: write the names out");
    }
    if (depth > 0 && synth_is_id(name_label(owner, depth - 1)))
        return err_set(info, ERR_CONFIG,
                       "the name is a device id or under one, and those are answered without a "
                       "file: remove the record");
    return ERR_OK;
}

static enum err check_type(const struct zone *z, const struct zone_node *n, unsigned type,
                           struct span data, struct err_info *info)
{
    bool apex = n->len == z->apex.len;
    switch (type) {
    case RR_SOA: {
        const struct rrset *have = node_rrset(n, RR_SOA);
        if (!apex)
            return err_set(info, ERR_CONFIG, "SOA belongs to the apex, %s, only", z->text);
        if (have != NULL && !set_has(have, data))
            return err_set(info, ERR_CONFIG, "a second SOA: keep one");
        break;
    }
    case RR_CNAME: {
        const struct rrset *have = node_rrset(n, RR_CNAME);
        if (apex)
            return err_set(info, ERR_CONFIG, "the apex cannot be a CNAME: it has SOA and NS");
        if (n->n_sets > (have != NULL) || (have != NULL && !set_has(have, data)))
            return err_set(info, ERR_CONFIG,
                           "a CNAME cannot stand beside other records of its "
                           "name [RFC 1034 s3.6.2]");
        return ERR_OK;
    }
    case RR_DNAME:
    case RR_RRSIG:
    case RR_NSEC:
    case RR_NSEC3:
    case RR_NSEC3PARAM:
    case RR_DNSKEY:
        if (type == RR_DNSKEY && z->keyring != NULL)
            break; /* the file has been read: this is the zone's own key */
        return err_set(info, ERR_CONFIG,
                       "records of this type are not served from a file by this "
                       "version: remove it");
    default:
        if (type == 0 || type == RR_OPT || (type >= RR_META_FIRST && type <= RR_ANY))
            return err_set(info, ERR_CONFIG, "this type cannot be a record");
    }
    if (node_rrset(n, RR_CNAME) != NULL)
        return err_set(info, ERR_CONFIG,
                       "the name is a CNAME, which cannot stand beside other "
                       "records [RFC 1034 s3.6.2]");
    return ERR_OK;
}

enum err zone_add(struct zone *z, const struct name *owner, unsigned type, uint32_t ttl_s,
                  struct span data, struct err_info *info)
{
    enum err e = check_owner(z, owner, info);
    if (e != ERR_OK)
        return e;
    struct zone_node *n = NULL;
    struct rrset *set;
    /* from the apex down, so that the empty names between have nodes and the apex is nodes[0] */
    for (unsigned i = z->apex.n_labels; e == ERR_OK && i <= owner->n_labels; i++)
        e = ensure_node(z, name_suffix(owner, i), &n);
    if (e == ERR_OK)
        e = check_type(z, n, type, data, info);
    if (e == ERR_CONFIG)
        return e;
    if (e == ERR_OK)
        e = ensure_set(n, type, &set);
    if (e == ERR_OK)
        e = append(set, ttl_s, data);
    if (e == ERR_LIMIT)
        return err_set(info, e, "more records than a zone, a name or a set of one type may have");
    return e == ERR_OK ? e : err_set(info, e, "out of memory");
}

/* Appends to the glue of `cut` the address records of server `target`, if the zone has them. */
static enum err add_glue(struct zone *z, struct zone_node *cut, struct span target)
{
    static const unsigned TYPES[] = { RR_A, RR_AAAA };
    const struct zone_node *server = zone_find(z, target);
    for (size_t i = 0; server != NULL && i < ARRAY_LEN(TYPES); i++) {
        const struct rrset *set = node_rrset(server, TYPES[i]);
        if (set == NULL)
            continue;
        size_t room = set->len + set->n * target.len;
        if (cut->glue_len + room > RRSET_LEN_MAX)
            return ERR_LIMIT;
        uint8_t *p = realloc(cut->glue, cut->glue_len + room);
        if (p == NULL)
            return ERR_NOMEM;
        cut->glue = p;
        for (size_t at = 0, len; at < set->len; at += len) {
            len = ZONE_RR_HEAD + (size_t)wire_load16(set->rrs + at + 10);
            memcpy(p + cut->glue_len, target.p, target.len);
            memcpy(p + cut->glue_len + target.len, set->rrs + at + 2, len - 2);
            cut->glue_len += target.len + len - 2;
            cut->n_glue++;
        }
    }
    return ERR_OK;
}

static enum err finish_cut(struct zone *z, struct zone_node *n)
{
    const struct rrset *ns = node_rrset(n, RR_NS);
    enum err e = ERR_OK;
    n->is_cut = true;
    for (size_t at = 0, len; e == ERR_OK && at < ns->len; at += ZONE_RR_HEAD + len) {
        struct name target;
        len = wire_load16(ns->rrs + at + 10);
        e = name_read(&target, (struct span){ ns->rrs + at + ZONE_RR_HEAD, len });
        if (e == ERR_OK)
            e = add_glue(z, n, (struct span){ target.wire, target.len });
    }
    return e;
}

uint32_t zone_serial(const struct zone *z)
{
    const uint8_t *data = z->soa->rrs + ZONE_RR_HEAD;
    const uint8_t *serial = data + wire_load16(data - 2) - SOA_NUMBERS_LEN;
    return (uint32_t)wire_load16(serial) << 16 | wire_load16(serial + 2);
}

bool zone_serial_is_before(uint32_t a, uint32_t b)
{
    uint32_t ahead = b - a;
    return ahead != 0 && ahead <= (uint32_t)1 << 31;
}

enum err zone_finish(struct zone *z, struct err_info *info)
{
    const struct zone_node *apex = z->n_nodes == 0 ? NULL : &z->nodes[0];
    z->soa = apex == NULL ? NULL : node_rrset(apex, RR_SOA);
    if (z->soa == NULL || z->soa->len < ZONE_RR_HEAD + 22)
        return err_set(info, ERR_CONFIG, "zone %s has no SOA record: add one", z->text);
    if (node_rrset(apex, RR_NS) == NULL)
        return err_set(info, ERR_CONFIG, "zone %s has no NS record: add its name servers", z->text);
    uint32_t minimum = (uint32_t)wire_load16(z->soa->rrs + z->soa->len - 4) << 16 |
                       wire_load16(z->soa->rrs + z->soa->len - 2);
    z->negative_ttl_s = minimum < z->soa->ttl_s ? minimum : z->soa->ttl_s;
    for (size_t i = 1; i < z->n_nodes; i++) {
        if (node_rrset(&z->nodes[i], RR_NS) == NULL)
            continue;
        enum err e = finish_cut(z, &z->nodes[i]);
        if (e != ERR_OK)
            return err_set(info, e, "zone %s: a delegation has broken or too many name servers",
                           z->text);
    }
    return ERR_OK;
}
