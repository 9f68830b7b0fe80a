/* delegation.h - whether the world finds a zone: what the servers of its parent say of it against
 * what our own name server says. Blocking, each question with a time limit. */
#ifndef LANYARD_PROVISIOND_ADMIN_DELEGATION_H
#define LANYARD_PROVISIOND_ADMIN_DELEGATION_H

#include "common/net/addr.h"
#include "provisiond/admin/findings.h"
#include "provisiond/config.h"

struct delegation {
    const struct config_zone *zone;
    const struct addr *resolver; /* finds the parent's servers; NULL: none */
    const struct addr *parents;  /* servers to be asked instead of those that it finds */
    size_t n_parents;
    struct findings *found; /* gets rows "delegation" and "glue" */
};

void delegation_check(const struct delegation *d);

#endif
