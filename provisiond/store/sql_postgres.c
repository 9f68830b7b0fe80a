#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "provisiond/store/sql_dialect.h"
#include "provisiond/store/sql_driver.h"
#include "provisiond/store/sql_pgconn.h"

#define PARAMS_MAX 40
#define STATEMENTS_MAX 256
#define SCRIPT_MAX (1 << 20)
#define PATIENT_WAIT_MS 3600000

/* Types of parameters [PostgreSQL, pg_type.dat]; text is left to what it meets. */
enum { OID_UNKNOWN = 0, OID_BYTEA = 17, OID_INT8 = 20 };

/* A prepared statement, by its text and the types of its parameters. */
struct statement {
    char *text; /* NULL: free */
    unsigned n_params;
    Oid types[PARAMS_MAX];
    unsigned generation; /* of the connection that it was prepared in */
};

struct postgres_db {
    struct sql base;
    struct pgconn conn;
    bool in_tx, may_retry;
    struct statement statements[STATEMENTS_MAX];
};

struct postgres_query {
    const char *text;
    unsigned n_params;
    Oid types[PARAMS_MAX];
    const char *values[PARAMS_MAX];
    int lengths[PARAMS_MAX], formats[PARAMS_MAX];
    char numbers[PARAMS_MAX][24];
    char *cleaned[PARAMS_MAX]; /* text that was no UTF-8, mended */
    PGresult *r;
    int row;                            /* the present one; -1 before the first */
    unsigned char *decoded[PARAMS_MAX]; /* blobs of the present row, by column */
    size_t decoded_len[PARAMS_MAX];
};

static struct postgres_db *postgres_of(const struct sql *db)
{
    return (struct postgres_db *)(uintptr_t)db;
}

static struct postgres_query *query_of(const struct sql_query *q)
{
    return q->stmt;
}

/* The reason of the last failure, for the caller. */
static enum err tell(struct postgres_db *db, enum err e, struct err_info *info)
{
    if (e == ERR_OK)
        return e;
    db->may_retry = db->may_retry || db->conn.may_retry;
    return err_set(info, e, "%s", db->conn.last.text);
}

static enum err lost_tx(struct postgres_db *db)
{
    return err_set(&db->conn.last, ERR_UNAVAILABLE, "database %s: the connection was lost",
                   db->conn.show);
}

/* --- transactions --- */

static void postgres_close(struct sql *base)
{
    struct postgres_db *db = postgres_of(base);
    for (size_t i = 0; i < STATEMENTS_MAX; i++)
        free(db->statements[i].text);
    pgconn_clear(&db->conn);
    free(db);
}

static enum err postgres_begin_tx(struct sql *base, struct err_info *info)
{
    struct postgres_db *db = postgres_of(base);
    bool reused = db->conn.c != NULL;
    db->may_retry = false;
    enum err e = pgconn_ensure(&db->conn);
    if (e == ERR_OK)
        e = pgconn_run(&db->conn, "BEGIN", NULL);
    if (e != ERR_OK && reused && db->conn.c == NULL) { /* it may have died long ago */
        e = pgconn_ensure(&db->conn);
        if (e == ERR_OK)
            e = pgconn_run(&db->conn, "BEGIN", NULL);
    }
    db->in_tx = e == ERR_OK;
    return tell(db, e, info);
}

static void postgres_rollback(struct sql *base)
{
    struct postgres_db *db = postgres_of(base);
    bool may_retry = db->may_retry; /* of what made us go back */
    if (db->in_tx && db->conn.c != NULL && pgconn_run(&db->conn, "ROLLBACK", NULL) != ERR_OK)
        pgconn_drop(&db->conn);
    db->in_tx = false;
    db->may_retry = may_retry;
    db->conn.wait_ms = PGCONN_WAIT_MS;
}

static enum err postgres_commit(struct sql *base, struct err_info *info)
{
    struct postgres_db *db = postgres_of(base);
    PGresult *r = NULL;
    enum err e = db->conn.c != NULL ? ERR_OK : lost_tx(db);
    db->conn.warned = false;
    if (e == ERR_OK)
        e = pgconn_run(&db->conn, "COMMIT", &r);
    if (e == ERR_OK && strcmp(PQcmdStatus(r), "COMMIT") != 0)
        e = err_set(&db->conn.last, ERR_UNAVAILABLE,
                    "database %s: the transaction was undone, as a statement of it had failed",
                    db->conn.show);
    else if (e == ERR_OK && db->conn.warned) /* as when the wait for the standby was cut short */
        e = err_set(&db->conn.last, ERR_UNAVAILABLE,
                    "database %s: a commit may not have reached its standby", db->conn.show);
    PQclear(r);
    db->in_tx = false;
    db->conn.wait_ms = PGCONN_WAIT_MS;
    return tell(db, e, info);
}

static bool postgres_may_retry(const struct sql *base)
{
    return postgres_of(base)->may_retry;
}

/* Runs text of ours inside the transaction. */
static enum err run_in_tx(struct postgres_db *db, const char *text, struct err_info *info)
{
    enum err e = db->conn.c != NULL && db->in_tx ? pgconn_run(&db->conn, text, NULL) : lost_tx(db);
    return tell(db, e, info);
}

static enum err postgres_savepoint(struct sql *base, struct err_info *info)
{
    return run_in_tx(postgres_of(base), "SAVEPOINT job", info);
}

static enum err postgres_savepoint_end(struct sql *base, bool keep, struct err_info *info)
{
    return run_in_tx(postgres_of(base), keep ? "RELEASE job" : "ROLLBACK TO job; RELEASE job",
                     info);
}

static enum err postgres_lock_schema(struct sql *base, struct err_info *info)
{
    struct postgres_db *db = postgres_of(base);
    enum err e = run_in_tx(db,
                           "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0;"
                           "SET LOCAL idle_in_transaction_session_timeout = 0",
                           info);
    db->conn.wait_ms = PATIENT_WAIT_MS;
    if (e == ERR_OK) /* before the first look: a transaction sees what was when it first looked */
        e = run_in_tx(db, "LOCK TABLE schema_version IN EXCLUSIVE MODE", info);
    return e;
}

static enum err postgres_script(struct sql *base, const char *text, struct err_info *info)
{
    struct postgres_db *db = postgres_of(base);
    struct buf own;
    buf_init(&own, SCRIPT_MAX);
    sql_dialect_add(&own, text);
    enum err e = buf_error(&own);
    if (e != ERR_OK)
        (void)err_set(&db->conn.last, e, "out of memory");
    if (e == ERR_OK)
        e = db->in_tx && db->conn.c == NULL ? lost_tx(db) : pgconn_ensure(&db->conn);
    if (e == ERR_OK)
        e = pgconn_run(&db->conn, buf_str(&own), NULL);
    buf_clear(&own);
    return tell(db, e, info);
}

/* --- parameters --- */

static void postgres_begin(struct sql_query *q, const char *text)
{
    struct postgres_query *pq = calloc(1, sizeof *pq);
    q->stmt = pq;
    if (pq == NULL) {
        q->e = ERR_NOMEM;
        return;
    }
    pq->text = text;
    pq->row = -1;
    pq->n_params = sql_dialect_params(text);
    if (pq->n_params > PARAMS_MAX)
        q->e = ERR_ILLEGAL;
}

/* The slot of parameter n, or -1. */
static int slot(struct sql_query *q, int n)
{
    if (n < 1 || (unsigned)n > query_of(q)->n_params) {
        q->e = ERR_ILLEGAL;
        return -1;
    }
    return n - 1;
}

static void postgres_bind_int(struct sql_query *q, int n, int64_t v)
{
    struct postgres_query *pq = query_of(q);
    int i = slot(q, n);
    if (i < 0)
        return;
    (void)snprintf(pq->numbers[i], sizeof pq->numbers[i], "%lld", (long long)v);
    pq->types[i] = OID_INT8;
    pq->values[i] = pq->numbers[i];
}

static void postgres_bind_text(struct sql_query *q, int n, const char *v)
{
    struct postgres_query *pq = query_of(q);
    int i = slot(q, n);
    if (i < 0)
        return;
    pq->types[i] = OID_UNKNOWN;
    pq->values[i] = v;
    if (v == NULL || sql_dialect_is_utf8(v))
        return;
    /* what others say may be cut within a character */
    free(pq->cleaned[i]);
    pq->cleaned[i] = strdup(v);
    pq->values[i] = pq->cleaned[i];
    if (pq->cleaned[i] == NULL)
        q->e = ERR_NOMEM;
    else
        sql_dialect_make_utf8(pq->cleaned[i]);
}

static void postgres_bind_blob(struct sql_query *q, int n, struct span v)
{
    struct postgres_query *pq = query_of(q);
    int i = slot(q, n);
    if (i < 0)
        return;
    pq->types[i] = OID_BYTEA;
    pq->values[i] = v.len > 0 ? (const char *)v.p : "";
    pq->lengths[i] = (int)v.len;
    pq->formats[i] = 1; /* binary */
}

/* --- running --- */

static bool same_statement(const struct statement *s, const struct postgres_query *pq)
{
    return s->n_params == pq->n_params && strcmp(s->text, pq->text) == 0 &&
           memcmp(s->types, pq->types, sizeof s->types) == 0;
}

/* Number of the statement, prepared in this connection; STATEMENTS_MAX when there are too many. */
static enum err prepare(struct postgres_db *db, const struct postgres_query *pq, size_t *out)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    size_t i;
    for (const char *p = pq->text; *p != 0; p++)
        hash = (hash ^ (uint8_t)*p) * 16777619u;
    for (size_t k = 0; k < STATEMENTS_MAX; k++) {
        i = (hash + k) % STATEMENTS_MAX;
        struct statement *s = &db->statements[i];
        if (s->text != NULL && !same_statement(s, pq))
            continue;
        *out = i;
        if (s->text != NULL && s->generation == db->conn.generation)
            return ERR_OK;
        char name[16];
        (void)snprintf(name, sizeof name, "s%zu", i);
        enum err e = pgconn_result(
            &db->conn, PQsendPrepare(db->conn.c, name, pq->text, (int)pq->n_params, pq->types),
            NULL);
        if (e != ERR_OK)
            return e;
        if (s->text == NULL && (s->text = strdup(pq->text)) == NULL) {
            pgconn_drop(&db->conn); /* the name is taken in it */
            return err_set(&db->conn.last, ERR_NOMEM, "out of memory");
        }
        s->n_params = pq->n_params;
        memcpy(s->types, pq->types, sizeof s->types);
        s->generation = db->conn.generation;
        return ERR_OK;
    }
    *out = STATEMENTS_MAX;
    return ERR_OK;
}

static enum err execute(struct postgres_db *db, struct postgres_query *pq)
{
    char name[16];
    size_t i = STATEMENTS_MAX;
    enum err e = db->in_tx && db->conn.c == NULL ? lost_tx(db) : pgconn_ensure(&db->conn);
    if (e == ERR_OK)
        e = prepare(db, pq, &i);
    if (e != ERR_OK)
        return e;
    int n = (int)pq->n_params, sent;
    if (i == STATEMENTS_MAX) {
        sent = PQsendQueryParams(db->conn.c, pq->text, n, pq->types, pq->values, pq->lengths,
                                 pq->formats, 0);
    } else {
        (void)snprintf(name, sizeof name, "s%zu", i);
        sent = PQsendQueryPrepared(db->conn.c, name, n, pq->values, pq->lengths, pq->formats, 0);
    }
    return pgconn_result(&db->conn, sent, &pq->r);
}

static void forget_decoded(struct postgres_query *pq)
{
    for (size_t i = 0; i < PARAMS_MAX; i++) {
        PQfreemem(pq->decoded[i]);
        pq->decoded[i] = NULL;
    }
}

static bool postgres_row(struct sql_query *q)
{
    struct postgres_query *pq = query_of(q);
    if (pq->r == NULL)
        q->e = execute(postgres_of(q->db), pq);
    forget_decoded(pq);
    pq->row++;
    q->done = q->e != ERR_OK || pq->row >= PQntuples(pq->r);
    return !q->done;
}

static const char *cell(struct sql_query *q, int col)
{
    struct postgres_query *pq = query_of(q);
    return PQgetvalue(pq->r, pq->row, col);
}

static int64_t postgres_int(struct sql_query *q, int col)
{
    const char *text = cell(q, col);
    return text[0] == 't' ? 1 : strtoll(text, NULL, 10); /* true, as a boolean is written */
}

static const char *postgres_text(struct sql_query *q, int col)
{
    return cell(q, col);
}

static struct span postgres_blob(struct sql_query *q, int col)
{
    struct postgres_query *pq = query_of(q);
    if (col >= PARAMS_MAX)
        return (struct span){ NULL, 0 };
    if (pq->decoded[col] == NULL)
        pq->decoded[col] =
            PQunescapeBytea((const unsigned char *)cell(q, col), &pq->decoded_len[col]);
    if (pq->decoded[col] == NULL)
        return (struct span){ NULL, 0 };
    return (struct span){ pq->decoded[col], pq->decoded_len[col] };
}

static bool postgres_is_null(struct sql_query *q, int col)
{
    struct postgres_query *pq = query_of(q);
    return PQgetisnull(pq->r, pq->row, col) != 0;
}

static enum err postgres_end(struct sql_query *q, int64_t *changed, struct err_info *info)
{
    struct postgres_query *pq = query_of(q);
    enum err e = q->e;
    if (e == ERR_ILLEGAL)
        (void)err_set(info, e, "a statement was bound wrongly: this is a defect of the program");
    else if (e == ERR_NOMEM)
        (void)err_set(info, e, "out of memory");
    else if (e != ERR_OK)
        e = tell(postgres_of(q->db), e, info);
    if (e == ERR_OK && changed != NULL)
        *changed = strtoll(PQcmdTuples(pq->r), NULL, 10);
    if (pq != NULL) {
        forget_decoded(pq);
        for (size_t i = 0; i < PARAMS_MAX; i++)
            free(pq->cleaned[i]);
        PQclear(pq->r);
        free(pq);
    }
    q->stmt = NULL;
    return e;
}

static enum err postgres_has_table(struct sql *db, const char *name, bool *out,
                                   struct err_info *info)
{
    struct sql_query q;
    bool there = false;
    sql_begin(&q, db, "SELECT to_regclass($1) IS NOT NULL");
    sql_bind_text(&q, 1, name);
    while (sql_row(&q))
        there = sql_int(&q, 0) != 0;
    enum err e = sql_end(&q, NULL, info);
    if (e == ERR_OK)
        *out = there;
    return e;
}

enum err sql_postgres_connect(struct sql **out, const char *url, struct err_info *info)
{
    static const struct sql_ops OPS = {
        .close = postgres_close,
        .begin_tx = postgres_begin_tx,
        .commit = postgres_commit,
        .rollback = postgres_rollback,
        .may_retry = postgres_may_retry,
        .savepoint = postgres_savepoint,
        .begin = postgres_begin,
        .savepoint_end = postgres_savepoint_end,
        .bind_int = postgres_bind_int,
        .bind_text = postgres_bind_text,
        .bind_blob = postgres_bind_blob,
        .row = postgres_row,
        .get_int = postgres_int,
        .get_text = postgres_text,
        .get_blob = postgres_blob,
        .is_null = postgres_is_null,
        .end = postgres_end,
        .script = postgres_script,
        .has_table = postgres_has_table,
        .lock_schema = postgres_lock_schema,
    };
    struct postgres_db *db = calloc(1, sizeof *db);
    if (db == NULL)
        return err_set(info, ERR_NOMEM, "out of memory");
    db->base.ops = &OPS;
    enum err e = pgconn_init(&db->conn, url, info);
    if (e == ERR_OK)
        e = tell(db, pgconn_ensure(&db->conn), info);
    if (e != ERR_OK) {
        postgres_close(&db->base);
        return e;
    }
    *out = &db->base;
    return ERR_OK;
}
