#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/secret.h"
#include "provisiond/store/migrate.h"
#include "provisiond/store/sql_driver.h"

#define RETRY_LIMIT_MS 2000
#define PAUSE_MIN_MS 4 /* between two tries; doubled by each, up to ... */
#define PAUSE_MAX_MS 256

static const char SQLITE[] = "sqlite:", POSTGRES[] = "postgresql://";

bool sql_url_is_postgres(const char *url)
{
    return strncmp(url, POSTGRES, sizeof POSTGRES - 1) == 0;
}

enum err sql_connect(struct sql **out, const char *url, struct err_info *info)
{
    if (sql_url_is_postgres(url))
        return sql_postgres_connect(out, url, info);
    if (strncmp(url, SQLITE, sizeof SQLITE - 1) != 0 || url[sizeof SQLITE - 1] == 0)
        return err_set(info, ERR_CONFIG,
                       "'%.*s' is not a store: write sqlite:PATH or postgresql://...",
                       (int)strcspn(url, ":"), url);
    return sql_sqlite_connect(out, url + sizeof SQLITE - 1, info);
}

enum err sql_open(struct sql **out, const char *url, struct err_info *info)
{
    struct sql *db = NULL;
    enum err e = sql_connect(&db, url, info);
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
    if (db != NULL)
        db->ops->close(db);
}

enum err sql_begin_tx(struct sql *db, struct err_info *info)
{
    return db->ops->begin_tx(db, info);
}

enum err sql_commit(struct sql *db, struct err_info *info)
{
    return db->ops->commit(db, info);
}

void sql_rollback(struct sql *db)
{
    db->ops->rollback(db);
}

bool sql_may_retry(const struct sql *db)
{
    return db->ops->may_retry(db);
}

/* A random part keeps two that met from meeting again. */
static void pause_before_retry(unsigned n_tries)
{
    uint8_t dice = 0;
    int64_t ms = n_tries < 6 ? (int64_t)PAUSE_MIN_MS << n_tries : PAUSE_MAX_MS;
    secret_random(&dice, sizeof dice);
    ms = ms / 2 + ms * dice / 512;
    struct timespec ts = { .tv_nsec = (long)ms * 1000000 };
    (void)nanosleep(&ts, NULL);
}

enum err sql_transact(struct sql *db,
                      enum err (*fn)(void *arg, struct sql *db, struct err_info *info), void *arg,
                      struct err_info *info)
{
    int64_t deadline_ms = clock_mono_ms() + RETRY_LIMIT_MS;
    for (unsigned n_tries = 0;; n_tries++) {
        enum err e = sql_begin_tx(db, info);
        if (e == ERR_OK) {
            e = fn(arg, db, info);
            if (e == ERR_OK)
                e = sql_commit(db, info);
            else
                sql_rollback(db);
        }
        if (e != ERR_UNAVAILABLE || !sql_may_retry(db) || clock_mono_ms() >= deadline_ms)
            return e;
        pause_before_retry(n_tries);
    }
}

enum err sql_savepoint(struct sql *db, struct err_info *info)
{
    return db->ops->savepoint(db, info);
}

enum err sql_savepoint_end(struct sql *db, bool keep, struct err_info *info)
{
    return db->ops->savepoint_end(db, keep, info);
}

void sql_begin(struct sql_query *q, struct sql *db, const char *text)
{
    *q = (struct sql_query){ .db = db };
    db->ops->begin(q, text);
}

void sql_bind_int(struct sql_query *q, int n, int64_t v)
{
    if (q->e == ERR_OK)
        q->db->ops->bind_int(q, n, v);
}

void sql_bind_text(struct sql_query *q, int n, const char *v)
{
    if (q->e == ERR_OK)
        q->db->ops->bind_text(q, n, v);
}

void sql_bind_blob(struct sql_query *q, int n, struct span v)
{
    if (q->e == ERR_OK)
        q->db->ops->bind_blob(q, n, v);
}

bool sql_row(struct sql_query *q)
{
    return q->e == ERR_OK && !q->done && q->db->ops->row(q);
}

int64_t sql_int(struct sql_query *q, int col)
{
    return q->db->ops->get_int(q, col);
}

const char *sql_text(struct sql_query *q, int col)
{
    return q->db->ops->get_text(q, col);
}

struct span sql_blob(struct sql_query *q, int col)
{
    return q->db->ops->get_blob(q, col);
}

bool sql_is_null(struct sql_query *q, int col)
{
    return q->db->ops->is_null(q, col);
}

void sql_copy(struct sql_query *q, int col, char *out, size_t cap)
{
    (void)snprintf(out, cap, "%s", sql_text(q, col));
}

enum err sql_end(struct sql_query *q, int64_t *changed, struct err_info *info)
{
    while (sql_row(q))
        ;
    return q->db->ops->end(q, changed, info);
}

enum err sql_script(struct sql *db, const char *text, struct err_info *info)
{
    return db->ops->script(db, text, info);
}

enum err sql_has_table(struct sql *db, const char *name, bool *out, struct err_info *info)
{
    return db->ops->has_table(db, name, out, info);
}

enum err sql_lock_schema(struct sql *db, struct err_info *info)
{
    return db->ops->lock_schema(db, info);
}
