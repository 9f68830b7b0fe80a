/* sql.h - one connection to the database, statement by statement. The SQL is written once for every
 * driver: parameters are $1, $2 ...; only what both SQLite and PostgreSQL understand.
 * Blocking: used on a store thread and by the admin commands, never on a loop. One thread at a
 * time.
 *
 *     struct sql_query q;
 *     sql_begin(&q, db, "SELECT used FROM token WHERE id=$1");
 *     sql_bind_int(&q, 1, id);
 *     while (sql_row(&q))
 *         used = sql_int(&q, 0);
 *     e = sql_end(&q, info);
 *
 * Errors are sticky: check once, at sql_end(). */
#ifndef LANYARD_PROVISIOND_STORE_SQL_H
#define LANYARD_PROVISIOND_STORE_SQL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/span.h"

struct sql; /* opaque: one connection */

struct sql_query {
    struct sql *db;
    void *stmt;
    enum err e;
    bool done;
};

/* Opens "sqlite:PATH" (made where missing, mode 0600) and brings the schema up to date, each
 * migration in its own transaction. Errors: ERR_CONFIG for another scheme or a schema newer than
 * this program, ERR_UNAVAILABLE. */
NODISCARD enum err sql_open(struct sql **out, const char *url, struct err_info *info);
void sql_close(struct sql *db);

/* Transactions. SQLite takes the write lock at the start, so that a commit cannot meet a conflict.
 */
NODISCARD enum err sql_begin_tx(struct sql *db, struct err_info *info);
NODISCARD enum err sql_commit(struct sql *db, struct err_info *info);
void sql_rollback(struct sql *db);
/* A part of a transaction that can be undone alone. ERR_UNAVAILABLE when the database has undone
 * the whole transaction by itself, after a full disk for one. */
NODISCARD enum err sql_savepoint(struct sql *db, struct err_info *info);
void sql_savepoint_end(struct sql *db, bool keep);

void sql_begin(struct sql_query *q, struct sql *db, const char *text);
void sql_bind_int(struct sql_query *q, int n, int64_t v);
void sql_bind_text(struct sql_query *q, int n, const char *v); /* NULL binds NULL; borrowed */
void sql_bind_blob(struct sql_query *q, int n, struct span v); /* borrowed until sql_end() */

/* Moves to the next row; false at the end or after an error. */
bool sql_row(struct sql_query *q);

/* Columns of the present row, from 0; borrowed until the next sql_row(). NULL is 0, "" and empty.
 */
int64_t sql_int(struct sql_query *q, int col);
const char *sql_text(struct sql_query *q, int col);
struct span sql_blob(struct sql_query *q, int col);
bool sql_is_null(struct sql_query *q, int col);

/* Copies a text column into a fixed buffer, cut to fit. */
void sql_copy(struct sql_query *q, int col, char *out, size_t cap);

/* Runs the statement to its end where that has not happened, and frees it. *changed (NULL allowed)
 * receives the number of rows that an INSERT, UPDATE or DELETE touched.
 * Errors: ERR_UNAVAILABLE (locked, full, damaged, away), ERR_EXISTS (a uniqueness rule). */
NODISCARD enum err sql_end(struct sql_query *q, int64_t *changed, struct err_info *info);

/* Row number that the last INSERT of this connection made. */
int64_t sql_last_id(struct sql *db);

/* Runs SQL text of several statements, without parameters: migrations. */
NODISCARD enum err sql_script(struct sql *db, const char *text, struct err_info *info);

#endif
