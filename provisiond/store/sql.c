#include "provisiond/store/sql.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>

#include "provisiond/store/migrate.h"

#define BUSY_TIMEOUT_MS 5000

struct sql {
    sqlite3 *db;
    char *path;
};

static enum err fail(struct sql *db, struct err_info *info)
{
    int rc = sqlite3_extended_errcode(db->db);
    enum err e = (rc & 0xff) == SQLITE_CONSTRAINT ? ERR_EXISTS : ERR_UNAVAILABLE;
    return err_set(info, e, "database %s: %s", db->path, sqlite3_errmsg(db->db));
}

/* SQLite creates with the umask: the file is made first, closed to others from its first moment. */
static void create_closed(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
}

enum err sql_open(struct sql **out, const char *url, struct err_info *info)
{
    if (strncmp(url, "sqlite:", 7) != 0 || url[7] == 0)
        return err_set(info, ERR_CONFIG, "'%s' is not a store of this version: write sqlite:PATH",
                       url);
    struct sql *db = calloc(1, sizeof *db);
    if (db == NULL || (db->path = strdup(url + 7)) == NULL) {
        free(db);
        return err_set(info, ERR_NOMEM, "out of memory");
    }
    create_closed(db->path);
    enum err e = ERR_OK;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(db->path, &db->db, flags, NULL) != SQLITE_OK)
        e = fail(db, info);
    if (e == ERR_OK) {
        (void)sqlite3_busy_timeout(db->db, BUSY_TIMEOUT_MS);
        e = sql_script(db,
                       "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
                       "PRAGMA secure_delete=ON;",
                       info);
    }
    if (e == ERR_OK)
        e = migrate_up(db, info);
    if (e != ERR_OK) {
        sql_close(db);
        return e;
    }
    *out = db;
    return ERR_OK;
}

void sql_close(struct sql *db)
{
    if (db == NULL)
        return;
    sqlite3_close(db->db);
    free(db->path);
    free(db);
}

enum err sql_script(struct sql *db, const char *text, struct err_info *info)
{
    return sqlite3_exec(db->db, text, NULL, NULL, NULL) == SQLITE_OK ? ERR_OK : fail(db, info);
}

enum err sql_begin_tx(struct sql *db, struct err_info *info)
{
    return sql_script(db, "BEGIN IMMEDIATE", info);
}

enum err sql_commit(struct sql *db, struct err_info *info)
{
    enum err e = sql_script(db, "COMMIT", info);
    if (e != ERR_OK)
        sql_rollback(db);
    return e;
}

void sql_rollback(struct sql *db)
{
    /* SQLite may have rolled back by itself, after a full disk for one */
    if (sqlite3_get_autocommit(db->db) == 0)
        (void)sqlite3_exec(db->db, "ROLLBACK", NULL, NULL, NULL);
}

enum err sql_savepoint(struct sql *db, struct err_info *info)
{
    /* outside of a transaction SQLite would begin one, whose end nobody waits for */
    if (sqlite3_get_autocommit(db->db) != 0)
        return err_set(info, ERR_UNAVAILABLE, "database %s: the transaction was undone", db->path);
    return sql_script(db, "SAVEPOINT job", info);
}

void sql_savepoint_end(struct sql *db, bool keep)
{
    if (sqlite3_get_autocommit(db->db) != 0)
        return;
    if (!keep)
        (void)sqlite3_exec(db->db, "ROLLBACK TO job", NULL, NULL, NULL);
    (void)sqlite3_exec(db->db, "RELEASE job", NULL, NULL, NULL);
}

void sql_begin(struct sql_query *q, struct sql *db, const char *text)
{
    sqlite3_stmt *st = NULL;
    *q = (struct sql_query){ .db = db };
    if (sqlite3_prepare_v2(db->db, text, -1, &st, NULL) != SQLITE_OK)
        q->e = ERR_UNAVAILABLE;
    q->stmt = st;
}

/* SQLite numbers named parameters in the order they appear: $2 may be the first. */
static int param(struct sql_query *q, int n)
{
    char name[16];
    (void)snprintf(name, sizeof name, "$%d", n);
    int at = sqlite3_bind_parameter_index(q->stmt, name);
    if (at == 0)
        q->e = ERR_ILLEGAL;
    return at;
}

void sql_bind_int(struct sql_query *q, int n, int64_t v)
{
    if (q->e == ERR_OK && sqlite3_bind_int64(q->stmt, param(q, n), v) != SQLITE_OK)
        q->e = ERR_ILLEGAL;
}

void sql_bind_text(struct sql_query *q, int n, const char *v)
{
    if (q->e == ERR_OK &&
        sqlite3_bind_text(q->stmt, param(q, n), v, -1, SQLITE_STATIC) != SQLITE_OK)
        q->e = ERR_ILLEGAL;
}

void sql_bind_blob(struct sql_query *q, int n, struct span v)
{
    const void *p = v.len > 0 ? (const void *)v.p : "";
    if (q->e == ERR_OK &&
        sqlite3_bind_blob64(q->stmt, param(q, n), p, v.len, SQLITE_STATIC) != SQLITE_OK)
        q->e = ERR_ILLEGAL;
}

bool sql_row(struct sql_query *q)
{
    if (q->e != ERR_OK || q->done)
        return false;
    int rc = sqlite3_step(q->stmt);
    if (rc == SQLITE_ROW)
        return true;
    q->done = true;
    if (rc != SQLITE_DONE)
        q->e = (rc & 0xff) == SQLITE_CONSTRAINT ? ERR_EXISTS : ERR_UNAVAILABLE;
    return false;
}

int64_t sql_int(struct sql_query *q, int col)
{
    return sqlite3_column_int64(q->stmt, col);
}

const char *sql_text(struct sql_query *q, int col)
{
    const unsigned char *t = sqlite3_column_text(q->stmt, col);
    return t == NULL ? "" : (const char *)t;
}

struct span sql_blob(struct sql_query *q, int col)
{
    const void *p = sqlite3_column_blob(q->stmt, col);
    return (struct span){ p, (size_t)sqlite3_column_bytes(q->stmt, col) };
}

bool sql_is_null(struct sql_query *q, int col)
{
    return sqlite3_column_type(q->stmt, col) == SQLITE_NULL;
}

void sql_copy(struct sql_query *q, int col, char *out, size_t cap)
{
    (void)snprintf(out, cap, "%s", sql_text(q, col));
}

enum err sql_end(struct sql_query *q, int64_t *changed, struct err_info *info)
{
    while (sql_row(q))
        ;
    enum err e = q->e;
    if (e == ERR_ILLEGAL)
        (void)err_set(info, e, "a statement was bound wrongly: this is a defect of the program");
    else if (e != ERR_OK)
        e = fail(q->db, info);
    if (e == ERR_OK && changed != NULL)
        *changed = sqlite3_changes64(q->db->db);
    sqlite3_finalize(q->stmt);
    q->stmt = NULL;
    return e;
}

int64_t sql_last_id(struct sql *db)
{
    return sqlite3_last_insert_rowid(db->db);
}
