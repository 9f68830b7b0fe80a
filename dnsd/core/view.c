#include "dnsd/core/view.h"

#include <stdlib.h>

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
    if (v == NULL || index == NULL) {
        free(v);
        free(index);
        return ERR_NOMEM;
    }
    *v = (struct view){ .zones = zones, .n_zones = n_zones, .index = index, .n_index = n_index };
    qsort(zones, n_zones, sizeof(struct zone *), by_labels);
    for (size_t i = 0; i < n_zones; i++) {
        uint8_t depth = zones[i]->apex.n_labels;
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

void view_free(struct view *v)
{
    if (v == NULL)
        return;
    for (size_t i = 0; i < v->n_zones; i++)
        zone_free(v->zones[i]);
    free(v->zones);
    free(v->index);
    free(v);
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

const struct zone *view_find(const struct view *v, const struct name *name, unsigned n_max)
{
    if (n_max > name->n_labels)
        n_max = name->n_labels;
    if (v->n_zones == 1) { /* the common case needs no hash */
        const struct zone *z = v->zones[0];
        return z->apex.n_labels <= n_max && name_is_within(name, &z->apex) ? z : NULL;
    }
    const struct zone *z = NULL;
    for (size_t i = 0; z == NULL && i < v->n_depths; i++) {
        if (v->depths[i] <= n_max)
            z = find_apex(v, name_suffix(name, v->depths[i]));
    }
    return z;
}
