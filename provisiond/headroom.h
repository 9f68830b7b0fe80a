/* headroom.h - what is left of each CA's limits, as all nodes together have written it down, and
 * which of them are closed. Blocking: a thread that nobody waits for, or an admin command. */
#ifndef LANYARD_PROVISIOND_HEADROOM_H
#define LANYARD_PROVISIOND_HEADROOM_H

#include "provisiond/config.h"
#include "provisiond/store/sql.h"

struct headroom {
    size_t issuer; /* number in the configuration */
    enum bucket_kind kind;
    size_t account;            /* 1..: which of several; 0: the only one, or the limit of a zone */
    const char *zone;          /* "" where the limit is the account's, or each device's; borrowed */
    struct bucket_limit limit; /* count 0: none of our own, the CA may still close it */
    int64_t left;              /* events; -1 without a limit of our own, or for each device */
    int64_t n_closed;          /* buckets that let nothing through now: 0 or 1, or of devices */
    int64_t closed_until;      /* Unix seconds; 0: open, or of devices */
};

/* Calls fn for each limit of each CA that has some, in the order of the configuration. */
NODISCARD enum err headroom_each(struct sql *db, const struct config *c, int64_t now_s,
                                 void (*fn)(void *arg, const struct headroom *h), void *arg,
                                 struct err_info *info);

#endif
