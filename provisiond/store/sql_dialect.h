/* sql_dialect.h - our SQL in PostgreSQL's words. Pure; any thread. */
#ifndef LANYARD_PROVISIOND_STORE_SQL_DIALECT_H
#define LANYARD_PROVISIOND_STORE_SQL_DIALECT_H

#include "common/base/attr.h"
#include "common/base/buf.h"

/* Appends `text` with the types of SQLite written as those of PostgreSQL that hold the same:
 * INTEGER (64 bits) is bigint, INTEGER PRIMARY KEY a bigint identity, BLOB bytea; WITHOUT ROWID
 * goes. Quoted text stays as it is. */
void sql_dialect_add(struct buf *out, const char *text);

/* The highest N of the parameters $N in `text`. */
unsigned sql_dialect_params(const char *text);

/* Whether `text` is UTF-8 as PostgreSQL takes it [RFC 3629]. */
bool sql_dialect_is_utf8(const char *text);

/* Makes it so: each byte that is none becomes '?'. */
void sql_dialect_make_utf8(char *text);

#endif
