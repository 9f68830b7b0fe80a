#include "dnsd/core/view.h"

#include <stdlib.h>
#include <string.h>

#include "dnsd/core/persist.h"

static int by_labels(const void *a, const void *b)
{
    const struct zone *const *x = a, *const *y = b;
    return (int)(*y)->apex.n_labels - (int)(*x)->apex.n_labels;
}

static struct span apex_of(const struct zone *z)
{
    return (struct span){ z->apex.wire, z->apex.len };
}

enum err view_new(struct view **out, struct zone **zones, size_t n_zones)
{
    struct view *v = calloc(1, sizeof *v);
    size_t n_index = 4;
    while (n_index < 2 * n_zones)
        n_index *= 2;
    uint32_t *index = calloc(n_index, sizeof *index);
    struct guard *guards = calloc(n_zones, sizeof *guards);
    struct presigned **presigned = calloc(n_zones, sizeof(struct presigned *));
    if (v == NULL || index == NULL || guards == NULL || presigned == NULL) {
        free(v);
        free(index);
        free(guards);
        free(presigned);
        return ERR_NOMEM;
    }
    *v = (struct view){ .zones = zones,
                        .n_zones = n_zones,
                        .guards = guards,
                        .presigned = presigned,
                        .index = index,
                        .n_index = n_index };
    qsort(zones, n_zones, sizeof(struct zone *), by_labels);
    for (size_t i = 0; i < n_zones; i++) {
        uint8_t depth = zones[i]->apex.n_labels;
        zones[i]->number = (uint32_t)i;
        if (v->n_depths == 0 || v->depths[v->n_depths - 1] != depth)
            v->depths[v->n_depths++] = depth;
        size_t slot = name_hash(apex_of(zones[i])) & (n_index - 1);
        while (index[slot] != 0)
            slot = (slot + 1) & (n_index - 1);
        index[slot] = (uint32_t)(i + 1);
    }
    *out = v;
    return ERR_OK;
}

enum err view_renew(struct view **out, const struct view *v)
{
    struct view *copy = malloc(sizeof *copy);
    struct guard *guards = malloc(v->n_zones * sizeof *guards);
    struct presigned **presigned = malloc(v->n_zones * sizeof(struct presigned *));
    uint32_t *index = malloc(v->n_index * sizeof *index);
    if (copy == NULL || guards == NULL || presigned == NULL || index == NULL) {
        free(copy);
        free(guards);
        free(presigned);
        free(index);
        return ERR_NOMEM;
    }
    *copy = *v;
    copy->guards = memcpy(guards, v->guards, v->n_zones * sizeof *guards);
    copy->presigned = memcpy(presigned, v->presigned, v->n_zones * sizeof(struct presigned *));
    copy->index = memcpy(index, v->index, v->n_index * sizeof *index);
    *out = copy;
    return ERR_OK;
}

static void free_keys(struct tag_keys *keys)
{
    if (keys != NULL)
        explicit_bzero(keys, sizeof *keys);
    free(keys);
}

void view_retire(struct view *old, const struct view *next)
{
    if (old == NULL)
        return;
    bool shared = next != NULL && next->zones == old->zones;
    for (size_t i = 0; i < old->n_zones; i++) {
        const struct guard *g = &old->guards[i];
        if (!shared || next->guards[i].tag_keys != g->tag_keys)
            free_keys(g->tag_keys);
        if (!shared || next->guards[i].suspended != g->suspended)
            suspended_free(g->suspended);
        if (!shared || next->guards[i].persist != g->persist)
            persist_free(g->persist);
        presigned_retire(old->presigned[i], shared ? next->presigned[i] : NULL);
        if (!shared)
            zone_free(old->zones[i]);
    }
    if (!shared)
        free(old->zones);
    free(old->guards);
    free(old->presigned);
    free(old->index);
    free(old);
}

void view_free(struct view *v)
{
    view_retire(v, NULL);
}

/* The zone with exactly this apex. */
static const struct zone *find_apex(const struct view *v, struct span apex)
{
    size_t mask = v->n_index - 1;
    for (size_t slot = name_hash(apex) & mask; v->index[slot] != 0; slot = (slot + 1) & mask) {
        const struct zone *z = v->zones[v->index[slot] - 1];
        if (span_equal(apex_of(z), apex))
            return z;
    }
    return NULL;
}

APART const struct zone *view_find_longest(const struct view *v, const struct name *name,
                                           unsigned n_max)
{
    if (n_max > name->n_labels)
        n_max = name->n_labels;
    const struct zone *z = NULL;
    for (size_t i = 0; z == NULL && i < v->n_depths; i++) {
        if (v->depths[i] <= n_max)
            z = find_apex(v, name_suffix(name, v->depths[i]));
    }
    return z;
}
