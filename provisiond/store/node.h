/* node.h - which processes work on this database, and when each last wrote to it. Blocking: store
 * thread or admin command. */
#ifndef LANYARD_PROVISIOND_STORE_NODE_H
#define LANYARD_PROVISIOND_STORE_NODE_H

#include <stdint.h>

#include "provisiond/store/sql.h"

#define NODE_NAME_MAX 128

struct node_row {
    char name[NODE_NAME_MAX]; /* of the configuration */
    char version[32];
    int64_t seen_at; /* Unix seconds */
};

/* Writes that the node is alive, inside the caller's transaction; forgets those that were not seen
 * for a week. */
NODISCARD enum err node_touch(struct sql *db, const char *name, int64_t now_s,
                              struct err_info *info);

/* Lets go of the orders of nodes that were not seen since `seen_since`: they are dead, or cut off
 * from the database. One that comes back finds their fences raised, once they were taken.
 * *released receives how many orders. */
NODISCARD enum err node_release_dead(struct sql *db, int64_t seen_since, int64_t *released,
                                     struct err_info *info);

/* Calls fn for each node, by name. */
NODISCARD enum err node_each(struct sql *db, void (*fn)(void *arg, const struct node_row *row),
                             void *arg, struct err_info *info);

#endif
