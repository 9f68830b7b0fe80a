/* seenmark.h - how far the audit log of an SQLite store was, noted in a file beside it (NAME.seen).
 * A backup that is restored lacks rows that the file knows of: tokens that were used since would be
 * good again, so they are held until the operator says otherwise. What came after the last note, a
 * minute or so, is not known to it. PostgreSQL has no such file: all of this does nothing there.
 * Blocking: at start, before a migration, and in the thread that counts the fleet. */
#ifndef LANYARD_PROVISIOND_STORE_SEENMARK_H
#define LANYARD_PROVISIOND_STORE_SEENMARK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"

struct sql;

/* Whether the store at `url` lacks what the file says it had. Then every token that is not revoked
 * is held, with an audit row; *n_held receives how many. No file is no lack. Needs the store's
 * lock, as it removes what a kill in the middle of a note left beside the file. Errors: those of
 * the database, and ERR_IO or ERR_DENIED of a file that cannot be read. */
NODISCARD enum err seenmark_check(struct sql *db, const char *url, int64_t now_s, bool *lacks,
                                  int64_t *n_held, struct err_info *info);

/* Notes what is committed now, unless that is noted already. `db` has no transaction open. Errors:
 * those of the database and of writing the file; ERR_LIMIT when there are too many chains. */
NODISCARD enum err seenmark_note(struct sql *db, const char *url, struct err_info *info);

#endif
