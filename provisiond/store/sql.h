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
 * Errors are sticky: check once, at sql_end(). After a statement that failed nothing more can be
 * done in its transaction (PostgreSQL): leave it, with the error.
 *
 * Transactions are serializable on both: what a transaction reads stays true until it commits, as
 * if it ran alone. SQLite lets one writer in at a time; PostgreSQL undoes one of two that got into
 * each other's way, and sql_may_retry() tells: run such a transaction anew, or let sql_transact()
 * or a job do it.
 *
 * PostgreSQL: a connection that was lost is made again by the next sql_begin_tx(), or the next
 * statement outside of a transaction. A commit whose answer was lost is looked up by the number of
 * its transaction. Connecting, waiting and locking have time limits. */
#ifndef LANYARD_PROVISIOND_STORE_SQL_H
#define LANYARD_PROVISIOND_STORE_SQL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/span.h"

/* Ends a SELECT of rows that are about to be changed: rows that another node is changing at this
 * moment are passed over. Nothing on SQLite, whose one writer is alone. */
#define SQL_SKIP_LOCKED " FOR UPDATE SKIP LOCKED"

struct sql; /* opaque: one connection */

struct sql_query {
    struct sql *db;
    void *stmt;
    enum err e;
    bool done;
};

/* Opens "sqlite:PATH" (made where missing, mode 0600) or "postgresql://..." as libpq reads it, and
 * brings the schema up to date, each migration in its own transaction. Errors: ERR_CONFIG for
 * another scheme or a schema newer than this program, ERR_UNAVAILABLE. */
NODISCARD enum err sql_open(struct sql **out, const char *url, struct err_info *info);

/* The same without a look at the schema. */
NODISCARD enum err sql_connect(struct sql **out, const char *url, struct err_info *info);
void sql_close(struct sql *db);

bool sql_url_is_postgres(const char *url);

/* Transactions. Errors: ERR_UNAVAILABLE; after a commit that failed nothing of the transaction is
 * there, unless the database could not be asked any more: whoever runs it again must find that
 * harmless. */
NODISCARD enum err sql_begin_tx(struct sql *db, struct err_info *info);
NODISCARD enum err sql_commit(struct sql *db, struct err_info *info);
void sql_rollback(struct sql *db);

/* Whether the last failure is one that the same transaction, run anew, may not meet: a conflict
 * with another, a deadlock, a connection that was lost, a server that has become a standby. */
bool sql_may_retry(const struct sql *db);

/* Runs fn in a transaction and commits when it returns ERR_OK; again, for two seconds at most,
 * where sql_may_retry() says so. fn may thus run several times, each time from the beginning. */
NODISCARD enum err sql_transact(struct sql *db,
                                enum err (*fn)(void *arg, struct sql *db, struct err_info *info),
                                void *arg, struct err_info *info);

/* A part of a transaction that can be undone alone. ERR_UNAVAILABLE when the database has undone
 * the whole transaction by itself, after a full disk for one. */
NODISCARD enum err sql_savepoint(struct sql *db, struct err_info *info);
/* Errors: ERR_UNAVAILABLE when what was to be kept is lost. */
NODISCARD enum err sql_savepoint_end(struct sql *db, bool keep, struct err_info *info);

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

/* Runs SQL text of several statements, without parameters: migrations. It is written in SQLite's
 * types: on PostgreSQL INTEGER is bigint, INTEGER PRIMARY KEY an identity column, BLOB bytea. */
NODISCARD enum err sql_script(struct sql *db, const char *text, struct err_info *info);

/* Whether there is a table of that name. */
NODISCARD enum err sql_has_table(struct sql *db, const char *name, bool *out,
                                 struct err_info *info);

/* Inside a transaction: keeps every other program from migrating until its end; and lets
 * statements of this transaction take as long as they need. */
NODISCARD enum err sql_lock_schema(struct sql *db, struct err_info *info);

#endif
