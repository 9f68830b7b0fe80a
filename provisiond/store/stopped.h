/* stopped.h - the file of suspended ids that dnsd reads, written from the database, so that the
 * names of a device stop when it is suspended. Blocking: store thread or admin command. */
#ifndef LANYARD_PROVISIOND_STORE_STOPPED_H
#define LANYARD_PROVISIOND_STORE_STOPPED_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "provisiond/store/sql.h"

/* Replaces, atomically and only when it differs, the part of the file at `path` below the line that
 * says whose it is, by the ids of `zone` that are suspended, or forgotten and in quarantine. What
 * the operator wrote above that line stays. Errors: those of files, ERR_LIMIT, ERR_UNAVAILABLE. */
NODISCARD enum err stopped_write(struct sql *db, const char *zone, const char *path, int64_t now_s,
                                 bool *changed, struct err_info *info);

#endif
