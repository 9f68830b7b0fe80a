/* admitlists.h - the files that decide over enrolments and keys: read at start, and again by a
 * thread of their own when one of them has changed or the operator asks. A file that cannot be read
 * leaves all lists as they were. The loop's thread. Private to api/. */
#ifndef LANYARD_PROVISIOND_API_ADMITLISTS_H
#define LANYARD_PROVISIOND_API_ADMITLISTS_H

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/loop.h"
#include "provisiond/config.h"
#include "provisiond/core/digestset.h"
#include "provisiond/core/factory.h"

struct admit_zone {
    struct factory *factory;        /* NULL where the zone has none */
    struct digestset *allow, *deny; /* NULL: all, none */
};

struct admit_lists {
    struct digestset *blocked_keys;           /* NULL: none */
    struct admit_zone zones[CONFIG_LIST_MAX]; /* as config.zones */
};

struct admitlists; /* opaque: the lists of now, and who watches their files */

/* Reads all files of `config`, which is borrowed until admitlists_free().
 * Errors: ERR_CONFIG with "FILE:LINE: PATH: ...", ERR_NOMEM. */
NODISCARD enum err admitlists_new(struct admitlists **out, struct loop *l,
                                  const struct config *config, struct err_info *info);
void admitlists_free(struct admitlists *w);

/* Reads all of them now, whether or not they have changed; says in the log what came of it. */
void admitlists_reload(struct admitlists *w);

/* Borrowed until control returns to the loop. */
const struct admit_lists *admitlists_now(const struct admitlists *w);

/* Whether the files cannot be read as they are at present, so that older lists are in force. */
bool admitlists_stale(const struct admitlists *w);

#endif
