#include "dnsd/core/presigned.h"

#include <stdlib.h>
#include <string.h>

#include "common/dns/wire.h"
#include "dnsd/core/zonesign.h"

/* Whether the node is under a delegation: never answered, so never signed. */
static bool is_occluded(const struct zone *z, const struct name *name)
{
    for (unsigned i = z->apex.n_labels + 1u; i < name->n_labels; i++) {
        const struct zone_node *n = zone_find(z, name_suffix(name, i));
        if (n != NULL && n->is_cut)
            return true;
    }
    return false;
}

/* Adds the signature of one key to `p`. */
static enum err add(struct presig *p, const struct sign_key *key, const struct name *apex,
                    const struct sign_set *what, struct signer *signer, int64_t now_s)
{
    uint8_t *rr = p->rrs + p->len;
    size_t len;
    enum err e = signer_sign(signer, key, apex, what, now_s, rr + ZONE_RR_HEAD, &len);
    if (e != ERR_OK)
        return e;
    wire_store16(rr, DNS_POINTER | DNS_HEADER_LEN);
    wire_store16(rr + 2, RR_RRSIG);
    wire_store16(rr + 4, RR_CLASS_IN);
    wire_store32(rr + 6, what->ttl_s);
    wire_store16(rr + 10, (unsigned)len);
    p->len += ZONE_RR_HEAD + len;
    p->n++;
    return ERR_OK;
}

static enum err sign_set(struct presig **out, const struct zone *z, const struct sign_set *what,
                         struct signer *signer, int64_t now_s)
{
    const struct keyring *ring = z->keyring;
    size_t n_keys = zonesign_by_all(what->type) ? ring->n : 1;
    struct presig *p = malloc(sizeof *p + n_keys * (ZONE_RR_HEAD + SIGN_RRSIG_MAX));
    if (p == NULL)
        return ERR_NOMEM;
    int64_t at_s = now_s + PRESIGNED_AHEAD_S;
    struct sign_times t = sign_times(what, at_s);
    *p = (struct presig){ .from_s = t.from_s + SIGN_EARLY_S - PRESIGNED_AHEAD_S,
                          .renew_s = t.renew_s };
    enum err e = ERR_OK;
    for (size_t i = 0; e == ERR_OK && i < ring->n; i++) {
        if (n_keys > 1 || i == ring->active)
            e = add(p, &ring->keys[i].key, &z->apex, what, signer, at_s);
    }
    struct presig *fitting = e == ERR_OK ? realloc(p, sizeof *p + p->len) : NULL;
    if (fitting == NULL) {
        free(p);
        return e == ERR_OK ? ERR_NOMEM : e;
    }
    *out = fitting;
    return ERR_OK;
}

static bool is_due(const struct presig *p, int64_t now_s)
{
    return p == NULL || now_s < p->from_s || now_s + PRESIGNED_AHEAD_S >= p->renew_s;
}

/* Signs what is due of one node. */
static enum err sign_node(struct presigned *p, const struct zone *z, const struct zone_node *n,
                          struct signer *signer, int64_t now_s, size_t *n_left)
{
    struct name owner;
    enum err e = name_read(&owner, (struct span){ n->name, n->len });
    if (e != ERR_OK || is_occluded(z, &owner))
        return e;
    for (size_t i = 0; i < n->n_sets && e == ERR_OK && *n_left > 0; i++) {
        const struct rrset *set = &n->sets[i];
        if ((n->is_cut && set->type != RR_DS) || !is_due(p->at[set->number], now_s))
            continue;
        const struct sign_set what = { .owner = { owner.wire, owner.len },
                                       .n_labels = owner.n_labels,
                                       .type = set->type,
                                       .ttl_s = set->ttl_s,
                                       .rrs = { set->rrs, set->len } };
        e = sign_set(&p->at[set->number], z, &what, signer, now_s);
        *n_left -= e == ERR_OK;
    }
    return e;
}

/* When the first of them has to be made anew. */
static void set_due(struct presigned *p)
{
    p->from_s = 0;
    p->due_s = INT64_MAX;
    for (size_t i = 0; i < p->n; i++) {
        if (p->at[i] == NULL)
            continue;
        if (p->at[i]->from_s > p->from_s)
            p->from_s = p->at[i]->from_s;
        if (p->at[i]->renew_s - PRESIGNED_AHEAD_S < p->due_s)
            p->due_s = p->at[i]->renew_s - PRESIGNED_AHEAD_S;
    }
}

/* Signs up to `n_max` of those that are due in `p`, which shares the others with `old`. */
static enum err sign_due(struct presigned *p, const struct zone *z, struct signer *signer,
                         int64_t now_s, size_t n_max, size_t *n)
{
    size_t n_left = n_max;
    enum err e = keyring_is_of(z->keyring, now_s) ? ERR_OK : ERR_RANGE;
    for (size_t i = 0; e == ERR_OK && i < z->n_nodes && n_left > 0; i++)
        e = sign_node(p, z, &z->nodes[i], signer, now_s, &n_left);
    set_due(p);
    *n = n_max - n_left;
    return e;
}

enum err presigned_new(struct presigned **out, const struct zone *z, struct signer *signer,
                       int64_t now_s)
{
    size_t n;
    struct presigned *p = calloc(1, sizeof *p + z->n_sets * sizeof(struct presig *));
    if (p == NULL)
        return ERR_NOMEM;
    p->n = z->n_sets;
    enum err e = sign_due(p, z, signer, now_s, SIZE_MAX, &n);
    if (e != ERR_OK) {
        presigned_retire(p, NULL);
        return e;
    }
    *out = p;
    return ERR_OK;
}

bool presigned_is_due(const struct presigned *p, int64_t now_s)
{
    return now_s < p->from_s || now_s >= p->due_s;
}

enum err presigned_renew(struct presigned **out, const struct presigned *old, const struct zone *z,
                         struct signer *signer, int64_t now_s, size_t n_max, size_t *n)
{
    size_t len = sizeof *old + old->n * sizeof(struct presig *);
    struct presigned *p = malloc(len);
    if (p == NULL)
        return ERR_NOMEM;
    memcpy(p, old, len);
    enum err e = sign_due(p, z, signer, now_s, n_max, n);
    if (e != ERR_OK) {
        presigned_retire(p, old);
        return e;
    }
    *out = p;
    return ERR_OK;
}

void presigned_retire(struct presigned *old, const struct presigned *next)
{
    for (size_t i = 0; old != NULL && i < old->n; i++) {
        if (next == NULL || next->at[i] != old->at[i])
            free(old->at[i]);
    }
    free(old);
}
