/* view.h - the zones of one generation of the configuration. Immutable once made: workers read it
 * without a lock; a reload makes another. A file of tag keys, suspended ids or accounts that
 * changed makes one with the same zones, and so do signatures that were made anew. */
#ifndef LANYARD_DNSD_CORE_VIEW_H
#define LANYARD_DNSD_CORE_VIEW_H

#include <stddef.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "dnsd/core/guard.h"
#include "dnsd/core/presigned.h"
#include "dnsd/core/shield.h"
#include "dnsd/core/zone.h"

struct view {
    struct zone **zones;
    size_t n_zones;
    struct guard *guards;                /* of the zone of the same number */
    struct presigned **presigned;        /* likewise; NULL for one that is not signed */
    uint8_t depths[NAME_LABELS_MAX + 1]; /* the numbers of labels that apexes have, falling */
    size_t n_depths;
    uint32_t *index; /* hash table of number of zone + 1 by apex; 0 is free */
    size_t n_index;
    struct shield shield; /* all zero: no cookies, no limits, no identity */
};

/* A view over `n_zones` finished zones, which it owns from here on (also the array, from malloc).
 * On an error the caller still owns them. Errors: ERR_NOMEM. */
NODISCARD enum err view_new(struct view **out, struct zone **zones, size_t n_zones);

/* A copy of `v` with the same zones, guards and signatures. Guards and signatures of the copy may
 * be replaced until it is published; from then on it stands in the place of `v`, which goes by
 * view_retire(). Errors: ERR_NOMEM. */
NODISCARD enum err view_renew(struct view **out, const struct view *v);

/* Frees `old`, except for what it shares with `next`. */
void view_retire(struct view *old, const struct view *next);

/* Frees all that it has, too. */
void view_free(struct view *v);

static inline const struct guard *view_guard(const struct view *v, const struct zone *z)
{
    return &v->guards[z->number];
}

/* What view_find() does where there are several zones. */
const struct zone *view_find_longest(const struct view *v, const struct name *name, unsigned n_max);

/* The zone that `name` belongs to: the one with the longest apex of at most `n_max` labels. NULL
 * when there is none. */
static inline const struct zone *view_find(const struct view *v, const struct name *name,
                                           unsigned n_max)
{
    if (v->n_zones != 1)
        return view_find_longest(v, name, n_max);
    const struct zone *z = v->zones[0]; /* the common case needs no hash */
    return z->apex.n_labels <= n_max && name_is_within(name, &z->apex) ? z : NULL;
}

#endif
