#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>

#include "provisiond/store/sql_driver.h"

#define BUSY_TIMEOUT_MS 5000

#define CACHE_MAX                                                                                  \
    96 /* prepared statements kept: more than the program has texts for its daily work */

/* A prepared statement that is kept: to parse and plan it costs more than most take to run. */
struct kept {
    const char *address; /* of the caller's text: mostly a literal, always the same */
    char *text;
    sqlite3_stmt *stmt;
    bool in_use;
};

struct sqlite_db {
    struct sql base;
    sqlite3 *db;
    char *path;
    struct kept kept[CACHE_MAX];
    size_t n_kept;
};

static struct sqlite_db *sqlite_of(const struct sql *db)
{
    return (struct sqlite_db *)(uintptr_t)db;
}

static sqlite3 *handle(const struct sql *db)
{
    return sqlite_of(db)->db;
}

static enum err fail(struct sql *db, struct err_info *info)
{
    int rc = sqlite3_extended_errcode(handle(db));
    enum err e = (rc & 0xff) == SQLITE_CONSTRAINT ? ERR_EXISTS : ERR_UNAVAILABLE;
    return err_set(info, e, "database %s: %s", sqlite_of(db)->path, sqlite3_errmsg(handle(db)));
}

static void sqlite_close(struct sql *db)
{
    struct sqlite_db *s = sqlite_of(db);
    for (size_t i = 0; i < s->n_kept; i++) {
        sqlite3_finalize(s->kept[i].stmt);
        free(s->kept[i].text);
    }
    sqlite3_close(handle(db));
    free(sqlite_of(db)->path);
    free(db);
}

static enum err sqlite_script(struct sql *db, const char *text, struct err_info *info)
{
    return sqlite3_exec(handle(db), text, NULL, NULL, NULL) == SQLITE_OK ? ERR_OK : fail(db, info);
}

static void sqlite_rollback(struct sql *db)
{
    /* SQLite may have rolled back by itself, after a full disk for one */
    if (sqlite3_get_autocommit(handle(db)) == 0)
        (void)sqlite3_exec(handle(db), "ROLLBACK", NULL, NULL, NULL);
}

static bool sqlite_may_retry(const struct sql *db)
{
    (void)db;
    return false; /* the lock was waited for already */
}

/* The text as SQLite takes it: without the clause that it does not know, and with ?N for $N, which
 * to SQLite is a name that it numbers by appearance and looks up at each binding. */
static char *sqlite_form(const char *text)
{
    size_t clause_len = strlen(SQL_SKIP_LOCKED);
    char *out = malloc(strlen(text) + 1), *to = out;
    if (out == NULL)
        return NULL;
    while (*text != 0) {
        if (*text == SQL_SKIP_LOCKED[0] && strncmp(text, SQL_SKIP_LOCKED, clause_len) == 0) {
            text += clause_len;
            continue;
        }
        bool is_param = *text == '$' && isdigit((unsigned char)text[1]);
        *to++ = is_param ? '?' : *text;
        text++;
    }
    *to = 0;
    return out;
}

static sqlite3_stmt *prepare(struct sqlite_db *s, const char *text, unsigned flags)
{
    sqlite3_stmt *st = NULL;
    char *own = sqlite_form(text);
    int rc = own != NULL ? sqlite3_prepare_v3(s->db, own, -1, flags, &st, NULL) : SQLITE_NOMEM;
    free(own);
    return rc == SQLITE_OK ? st : NULL;
}

/* The kept statement of that text, NULL when there is none or it runs already. The address is a
 * guess that saves reading all texts; the text decides. */
static struct kept *find_kept(struct sqlite_db *s, const char *text, bool *known)
{
    size_t at = s->n_kept;
    for (size_t i = 0; i < s->n_kept && at == s->n_kept; i++) {
        if (s->kept[i].address == text && strcmp(s->kept[i].text, text) == 0)
            at = i;
    }
    for (size_t i = 0; i < s->n_kept && at == s->n_kept; i++) {
        if (strcmp(s->kept[i].text, text) == 0)
            at = i;
    }
    *known = at < s->n_kept;
    return *known && !s->kept[at].in_use ? &s->kept[at] : NULL;
}

static void sqlite_begin(struct sql_query *q, const char *text)
{
    struct sqlite_db *s = sqlite_of(q->db);
    bool known;
    struct kept *k = find_kept(s, text, &known);
    bool keep = !known && s->n_kept < CACHE_MAX;
    sqlite3_stmt *st = k != NULL ? k->stmt : prepare(s, text, keep ? SQLITE_PREPARE_PERSISTENT : 0);
    char *copy = keep && st != NULL ? strdup(text) : NULL;
    if (copy != NULL) {
        k = &s->kept[s->n_kept++];
        *k = (struct kept){ text, copy, st, false };
    }
    if (k != NULL)
        k->in_use = true;
    if (st == NULL)
        q->e = ERR_UNAVAILABLE;
    q->stmt = st;
}

/* Back to where it is kept, or gone. */
static void release(struct sqlite_db *s, sqlite3_stmt *st)
{
    for (size_t i = 0; i < s->n_kept; i++) {
        if (s->kept[i].stmt != st)
            continue;
        (void)sqlite3_reset(st); /* its error was told already */
        (void)sqlite3_clear_bindings(st);
        s->kept[i].in_use = false;
        return;
    }
    sqlite3_finalize(st);
}

static void sqlite_bind_int(struct sql_query *q, int n, int64_t v)
{
    if (sqlite3_bind_int64(q->stmt, n, v) != SQLITE_OK)
        q->e = ERR_ILLEGAL;
}

static void sqlite_bind_text(struct sql_query *q, int n, const char *v)
{
    if (sqlite3_bind_text(q->stmt, n, v, -1, SQLITE_STATIC) != SQLITE_OK)
        q->e = ERR_ILLEGAL;
}

static void sqlite_bind_blob(struct sql_query *q, int n, struct span v)
{
    const void *p = v.len > 0 ? (const void *)v.p : "";
    if (sqlite3_bind_blob64(q->stmt, n, p, v.len, SQLITE_STATIC) != SQLITE_OK)
        q->e = ERR_ILLEGAL;
}

static bool sqlite_row(struct sql_query *q)
{
    int rc = sqlite3_step(q->stmt);
    if (rc == SQLITE_ROW)
        return true;
    q->done = true;
    if (rc != SQLITE_DONE)
        q->e = (rc & 0xff) == SQLITE_CONSTRAINT ? ERR_EXISTS : ERR_UNAVAILABLE;
    return false;
}

static int64_t sqlite_int(struct sql_query *q, int col)
{
    return sqlite3_column_int64(q->stmt, col);
}

static const char *sqlite_text(struct sql_query *q, int col)
{
    const unsigned char *t = sqlite3_column_text(q->stmt, col);
    return t == NULL ? "" : (const char *)t;
}

static struct span sqlite_blob(struct sql_query *q, int col)
{
    const void *p = sqlite3_column_blob(q->stmt, col);
    return (struct span){ p, (size_t)sqlite3_column_bytes(q->stmt, col) };
}

static bool sqlite_is_null(struct sql_query *q, int col)
{
    return sqlite3_column_type(q->stmt, col) == SQLITE_NULL;
}

static enum err sqlite_end(struct sql_query *q, int64_t *changed, struct err_info *info)
{
    enum err e = q->e;
    if (e == ERR_ILLEGAL)
        (void)err_set(info, e, "a statement was bound wrongly: this is a defect of the program");
    else if (e != ERR_OK)
        e = fail(q->db, info);
    if (e == ERR_OK && changed != NULL)
        *changed = sqlite3_changes64(handle(q->db));
    if (q->stmt != NULL)
        release(sqlite_of(q->db), q->stmt);
    q->stmt = NULL;
    return e;
}

/* What begins and ends a transaction, a literal without parameters: kept too, as these are the
 * most frequent of all, and parsing one costs more than running it. */
static enum err control(struct sql *db, const char *text, struct err_info *info)
{
    struct sql_query q = { .db = db };
    sqlite_begin(&q, text);
    if (q.e == ERR_OK)
        (void)sqlite_row(&q);
    return sqlite_end(&q, NULL, info);
}

static enum err sqlite_begin_tx(struct sql *db, struct err_info *info)
{
    /* the write lock at the start: a commit cannot meet a conflict */
    return control(db, "BEGIN IMMEDIATE", info);
}

static enum err sqlite_commit(struct sql *db, struct err_info *info)
{
    enum err e = control(db, "COMMIT", info);
    if (e != ERR_OK)
        sqlite_rollback(db);
    return e;
}

static enum err sqlite_savepoint(struct sql *db, struct err_info *info)
{
    /* outside of a transaction SQLite would begin one, whose end nobody waits for */
    if (sqlite3_get_autocommit(handle(db)) != 0)
        return err_set(info, ERR_UNAVAILABLE, "database %s: the transaction was undone",
                       sqlite_of(db)->path);
    return control(db, "SAVEPOINT job", info);
}

static enum err sqlite_savepoint_end(struct sql *db, bool keep, struct err_info *info)
{
    if (sqlite3_get_autocommit(handle(db)) != 0)
        return keep ? err_set(info, ERR_UNAVAILABLE, "database %s: the transaction was undone",
                              sqlite_of(db)->path)
                    : ERR_OK;
    enum err e = keep ? ERR_OK : control(db, "ROLLBACK TO job", info);
    return e == ERR_OK ? control(db, "RELEASE job", info) : e;
}

static enum err sqlite_has_table(struct sql *db, const char *name, bool *out, struct err_info *info)
{
    struct sql_query q;
    int64_t n = 0;
    sql_begin(&q, db, "SELECT count(*) FROM sqlite_master WHERE type='table' AND name=$1");
    sql_bind_text(&q, 1, name);
    while (sql_row(&q))
        n = sql_int(&q, 0);
    enum err e = sql_end(&q, NULL, info);
    if (e == ERR_OK)
        *out = n > 0;
    return e;
}

static enum err sqlite_lock_schema(struct sql *db, struct err_info *info)
{
    (void)db; /* a transaction has the whole file */
    (void)info;
    return ERR_OK;
}

/* SQLite creates with the umask: the file is made first, closed to others from its first moment. A
 * file that is there is not opened: to close it again would end the locks of every connection that
 * this process has to it, and others would take the write-ahead log away from under them. */
static void create_closed(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
}

/* A setting that SQLite did not take would go unnoticed until a power cut. */
static enum err check_pragma(struct sql *db, const char *pragma, const char *want,
                             struct err_info *info)
{
    struct sql_query q;
    bool right = false;
    sql_begin(&q, db, pragma);
    while (sql_row(&q))
        right = strcmp(sql_text(&q, 0), want) == 0;
    enum err e = sql_end(&q, NULL, info);
    if (e == ERR_OK && !right)
        e = err_set(info, ERR_UNAVAILABLE, "database %s: SQLite does not take %s=%s here",
                    sqlite_of(db)->path, pragma, want);
    return e;
}

static enum err set_up(struct sql *db, struct err_info *info)
{
    (void)sqlite3_busy_timeout(handle(db), BUSY_TIMEOUT_MS);
    enum err e = sqlite_script(db,
                               "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                               "PRAGMA foreign_keys=ON; PRAGMA secure_delete=ON;"
                               /* each RETURNING has a table of its own: as a file it costs more
                                * than the statement */
                               "PRAGMA temp_store=MEMORY;",
                               info);
    if (e == ERR_OK)
        e = check_pragma(db, "PRAGMA journal_mode", "wal", info);
    if (e == ERR_OK)
        e = check_pragma(db, "PRAGMA synchronous", "2", info); /* FULL */
    return e;
}

enum err sql_sqlite_connect(struct sql **out, const char *path, struct err_info *info)
{
    static const struct sql_ops OPS = {
        .close = sqlite_close,
        .begin_tx = sqlite_begin_tx,
        .commit = sqlite_commit,
        .rollback = sqlite_rollback,
        .may_retry = sqlite_may_retry,
        .savepoint = sqlite_savepoint,
        .begin = sqlite_begin,
        .savepoint_end = sqlite_savepoint_end,
        .bind_int = sqlite_bind_int,
        .bind_text = sqlite_bind_text,
        .bind_blob = sqlite_bind_blob,
        .row = sqlite_row,
        .get_int = sqlite_int,
        .get_text = sqlite_text,
        .get_blob = sqlite_blob,
        .is_null = sqlite_is_null,
        .end = sqlite_end,
        .script = sqlite_script,
        .has_table = sqlite_has_table,
        .lock_schema = sqlite_lock_schema,
    };
    struct sqlite_db *db = calloc(1, sizeof *db);
    if (db == NULL || (db->path = strdup(path)) == NULL) {
        free(db);
        return err_set(info, ERR_NOMEM, "out of memory");
    }
    db->base.ops = &OPS;
    create_closed(path);
    enum err e = ERR_OK;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(path, &db->db, flags, NULL) != SQLITE_OK)
        e = fail(&db->base, info);
    if (e == ERR_OK)
        e = set_up(&db->base, info);
    if (e != ERR_OK) {
        sqlite_close(&db->base);
        return e;
    }
    *out = &db->base;
    return ERR_OK;
}
