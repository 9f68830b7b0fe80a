/* storefacts.h - which database this is and how large it has become. Blocking: admin command. */
#ifndef LANYARD_PROVISIOND_STORE_STOREFACTS_H
#define LANYARD_PROVISIOND_STORE_STOREFACTS_H

#include <stdint.h>

#include "provisiond/store/sql.h"

struct storefacts {
    char version[64]; /* "SQLite 3.40.1", "PostgreSQL 15.8 (...)" */
    int64_t size;     /* bytes on disk */
};

NODISCARD enum err storefacts_get(struct sql *db, const char *url, struct storefacts *out,
                                  struct err_info *info);

#endif
