#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include "common/store/challenge_backend.h"

#define BUSY_TIMEOUT_MS 2000

/* The primary key makes put idempotent; two orders may hold the same value (a CA may reuse a
 * pending authorisation), so the order is part of it and removal of one leaves the other. */
static const char SCHEMA[] =
    "CREATE TABLE IF NOT EXISTS challenge ("
    " zone TEXT NOT NULL, id TEXT NOT NULL, value TEXT NOT NULL, order_id INTEGER NOT NULL,"
    " expires_at INTEGER NOT NULL, PRIMARY KEY (zone, id, value, order_id)) WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS challenge_order ON challenge (order_id);";

struct sqlite_store {
    struct challenge_store base;
    sqlite3 *db; /* NULL while a reader's file is not there */
    char *path;
    bool writer;
    sqlite3_stmt *get;
    ino_t inode; /* of the open file: a replaced file is opened anew */
};

static enum err fail(struct sqlite_store *s, struct err_info *info, const char *what)
{
    return err_set(info, ERR_UNAVAILABLE, "challenge store %s: cannot %s: %s", s->path, what,
                   s->db != NULL ? sqlite3_errmsg(s->db) : "not open");
}

static void disconnect(struct sqlite_store *s)
{
    sqlite3_finalize(s->get);
    s->get = NULL;
    sqlite3_close(s->db);
    s->db = NULL;
}

/* The file has its mode before SQLite sees it, because the files of its log copy that mode. They
 * stay when the writer closes: a reader that may not create files could not open the table
 * otherwise. */
static enum err prepare_file(struct sqlite_store *s, struct err_info *info)
{
    int fd = open(s->path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0 || fchmod(fd, 0640) != 0) {
        int errnum = errno;
        if (fd >= 0)
            close(fd);
        return err_set(info, ERR_UNAVAILABLE, "challenge store %s: cannot open it: %s", s->path,
                       strerror(errnum));
    }
    close(fd);
    return ERR_OK;
}

static enum err setup_writer(struct sqlite_store *s, struct err_info *info)
{
    /* not FULL: what a power cut undoes of the last changes is put again by the order that is taken
     * up, or swept away; the file itself stays whole */
    if (sqlite3_exec(s->db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;", NULL, NULL,
                     NULL) != SQLITE_OK ||
        sqlite3_exec(s->db, SCHEMA, NULL, NULL, NULL) != SQLITE_OK)
        return fail(s, info, "prepare it");
    /* a reader that may not write to the folder can open a WAL database only while the log files
     * are there: they stay when the last writer closes */
    int keep = 1;
    (void)sqlite3_file_control(s->db, "main", SQLITE_FCNTL_PERSIST_WAL, &keep);
    return ERR_OK;
}

static enum err connect_db(struct sqlite_store *s, struct err_info *info)
{
    struct stat st;
    if (!s->writer && stat(s->path, &st) != 0)
        return err_set(info, ERR_UNAVAILABLE, "challenge store %s: cannot open it: %s", s->path,
                       errno == ENOENT ? "there is none yet (is provisiond running?)"
                                       : strerror(errno));
    enum err e = s->writer ? prepare_file(s, info) : ERR_OK;
    if (e != ERR_OK)
        return e;
    int flags = s->writer ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY;
    if (sqlite3_open_v2(s->path, &s->db, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
        e = fail(s, info, "open it");
        disconnect(s);
        return e;
    }
    (void)sqlite3_busy_timeout(s->db, BUSY_TIMEOUT_MS);
    if (s->writer)
        e = setup_writer(s, info);
    if (e == ERR_OK && stat(s->path, &st) == 0)
        s->inode = st.st_ino;
    if (e == ERR_OK &&
        sqlite3_prepare_v2(
            s->db,
            "SELECT value, min(expires_at) FROM challenge WHERE zone=?1 AND id=?2"
            " AND expires_at>?3 AND length(value)=43 GROUP BY value ORDER BY 2 LIMIT ?4",
            -1, &s->get, NULL) != SQLITE_OK)
        e = fail(s, info, "read it");
    if (e != ERR_OK)
        disconnect(s);
    return e;
}

static void store_free(struct challenge_store *base)
{
    struct sqlite_store *s = (struct sqlite_store *)base;
    disconnect(s);
    free(s->path);
    free(s);
}

/* A reader whose file was removed or replaced (a restored backup) must not go on with the old one.
 */
static enum err ensure_current(struct sqlite_store *s, struct err_info *info)
{
    struct stat st;
    if (s->db != NULL && !s->writer && (stat(s->path, &st) != 0 || st.st_ino != s->inode))
        disconnect(s);
    return s->db != NULL ? ERR_OK : connect_db(s, info);
}

static enum err store_get(struct challenge_store *base, const char *zone, const char *id,
                          int64_t now_s, struct challenge_value values[CHALLENGE_VALUES_MAX],
                          size_t *n, struct err_info *info)
{
    struct sqlite_store *s = (struct sqlite_store *)base;
    enum err e = ensure_current(s, info);
    if (e != ERR_OK)
        return e;
    sqlite3_bind_text(s->get, 1, zone, -1, SQLITE_STATIC);
    sqlite3_bind_text(s->get, 2, id, -1, SQLITE_STATIC);
    sqlite3_bind_int64(s->get, 3, now_s);
    sqlite3_bind_int(s->get, 4, CHALLENGE_VALUES_MAX);
    size_t count = 0;
    int rc;
    while ((rc = sqlite3_step(s->get)) == SQLITE_ROW && count < CHALLENGE_VALUES_MAX) {
        const char *text = (const char *)sqlite3_column_text(s->get, 0);
        if (text != NULL && challenge_value_has_form(text))
            memcpy(values[count++].text, text, CHALLENGE_VALUE_LEN + 1);
    }
    if (rc != SQLITE_DONE && rc != SQLITE_ROW)
        e = fail(s, info, "read it");
    sqlite3_reset(s->get);
    if (e != ERR_OK)
        disconnect(s); /* the next read starts with a fresh connection */
    else
        *n = count;
    return e;
}

static enum err store_put(struct challenge_store *base, const char *zone, const char *id,
                          int64_t order_id, const char *value, int64_t expires_at, int64_t now_s,
                          struct err_info *info)
{
    struct sqlite_store *s = (struct sqlite_store *)base;
    enum err e = ensure_current(s, info);
    if (e != ERR_OK)
        return e;
    /* one statement, so that the bound holds whoever else writes */
    static const char SQL[] =
        "INSERT INTO challenge (zone, id, value, order_id, expires_at)"
        " SELECT ?1, ?2, ?3, ?4, ?5 WHERE (SELECT count(DISTINCT value) FROM challenge"
        " WHERE zone=?1 AND id=?2 AND expires_at>?6 AND value<>?3) < ?7"
        " ON CONFLICT DO UPDATE SET expires_at=max(expires_at, excluded.expires_at)";
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(s->db, SQL, -1, &st, NULL) != SQLITE_OK)
        return fail(s, info, "write it");
    sqlite3_bind_text(st, 1, zone, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 2, id, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 3, value, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, 4, order_id);
    sqlite3_bind_int64(st, 5, expires_at);
    sqlite3_bind_int64(st, 6, now_s);
    sqlite3_bind_int(st, 7, CHALLENGE_VALUES_MAX);
    int rc = sqlite3_step(st);
    if (rc != SQLITE_DONE)
        e = fail(s, info, "write it");
    else if (sqlite3_changes(s->db) == 0)
        e = err_set(info, ERR_LIMIT, "%d challenge values live for this name already",
                    CHALLENGE_VALUES_MAX);
    sqlite3_finalize(st);
    return e;
}

static enum err store_remove(struct challenge_store *base, int64_t order_id, int64_t until_s,
                             int64_t now_s, struct err_info *info)
{
    static const char SQL[] = "DELETE FROM challenge WHERE (order_id=?1 AND expires_at<=?2)"
                              " OR expires_at<=?3";
    struct sqlite_store *s = (struct sqlite_store *)base;
    enum err e = ensure_current(s, info);
    sqlite3_stmt *st = NULL;
    if (e != ERR_OK)
        return e;
    if (sqlite3_prepare_v2(s->db, SQL, -1, &st, NULL) != SQLITE_OK)
        return fail(s, info, "write it");
    sqlite3_bind_int64(st, 1, order_id);
    sqlite3_bind_int64(st, 2, until_s);
    sqlite3_bind_int64(st, 3, now_s);
    e = sqlite3_step(st) == SQLITE_DONE ? ERR_OK : fail(s, info, "write it");
    sqlite3_finalize(st);
    return e;
}

static enum err store_orders(struct challenge_store *base, challenge_order_fn *fn, void *arg,
                             struct err_info *info)
{
    struct sqlite_store *s = (struct sqlite_store *)base;
    enum err e = ensure_current(s, info);
    if (e != ERR_OK)
        return e;
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(s->db,
                           "SELECT order_id, max(expires_at) FROM challenge GROUP BY order_id", -1,
                           &st, NULL) != SQLITE_OK)
        return fail(s, info, "read it");
    int rc;
    while ((rc = sqlite3_step(st)) == SQLITE_ROW)
        fn(arg, sqlite3_column_int64(st, 0), sqlite3_column_int64(st, 1));
    sqlite3_finalize(st);
    return rc == SQLITE_DONE ? ERR_OK : fail(s, info, "read it");
}

enum err challenge_sqlite_open(struct challenge_store **out, const char *path, bool writer,
                               struct err_info *info)
{
    static const struct challenge_ops OPS = { store_free, store_get, store_put, store_remove,
                                              store_orders };
    struct sqlite_store *s = calloc(1, sizeof *s);
    if (s == NULL || (s->path = strdup(path)) == NULL) {
        free(s);
        return err_set(info, ERR_NOMEM, "out of memory");
    }
    s->base.ops = &OPS;
    s->writer = writer;
    enum err e = connect_db(s, info);
    if (e != ERR_OK && writer) {
        store_free(&s->base);
        return ERR_IO;
    }
    *out = &s->base; /* a reader may start before its store exists */
    return ERR_OK;
}
