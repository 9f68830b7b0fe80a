#include "provisiond/store/transfer.h"

#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"

#define NAME_MAX_LEN 64
#define TABLES_MAX 64
#define COLUMNS_MAX 40
#define PROGRESS_ROWS 100000
#define TEXT_MAX 8192

enum kind { KIND_TEXT, KIND_INT, KIND_BLOB };

struct table {
    char name[NAME_MAX_LEN];
    unsigned n_columns;
    char columns[COLUMNS_MAX][NAME_MAX_LEN];
    enum kind kinds[COLUMNS_MAX];
    char number[NAME_MAX_LEN]; /* the column that the database counts up; "" when none */
};

static enum err list_tables(struct sql *db, char (*names)[NAME_MAX_LEN], unsigned *n,
                            struct err_info *info)
{
    struct sql_query q;
    *n = 0;
    sql_begin(&q, db,
              "SELECT name FROM sqlite_master WHERE type='table' AND name<>'schema_version'"
              " AND name NOT LIKE 'sqlite%' ORDER BY name");
    while (sql_row(&q)) {
        if (*n < TABLES_MAX)
            sql_copy(&q, 0, names[*n], NAME_MAX_LEN);
        ++*n;
    }
    enum err e = sql_end(&q, NULL, info);
    if (e == ERR_OK && *n > TABLES_MAX)
        e = err_set(info, ERR_LIMIT, "more than %d tables", TABLES_MAX);
    return e;
}

static enum err read_columns(struct sql *db, struct table *t, struct err_info *info)
{
    struct sql_query q;
    unsigned n_keys = 0;
    sql_begin(&q, db, "SELECT name, type, pk FROM pragma_table_info($1) ORDER BY cid");
    sql_bind_text(&q, 1, t->name);
    while (sql_row(&q)) {
        unsigned i = t->n_columns++;
        if (i >= COLUMNS_MAX)
            continue;
        sql_copy(&q, 0, t->columns[i], NAME_MAX_LEN);
        t->kinds[i] = strcmp(sql_text(&q, 1), "INTEGER") == 0 ? KIND_INT
                      : strcmp(sql_text(&q, 1), "BLOB") == 0  ? KIND_BLOB
                                                              : KIND_TEXT;
        if (sql_int(&q, 2) == 0)
            continue;
        n_keys++;
        if (t->kinds[i] == KIND_INT)
            sql_copy(&q, 0, t->number, sizeof t->number);
    }
    if (n_keys != 1)
        t->number[0] = 0;
    enum err e = sql_end(&q, NULL, info);
    if (e == ERR_OK && t->n_columns > COLUMNS_MAX)
        e = err_set(info, ERR_LIMIT, "table %s has more than %d columns", t->name, COLUMNS_MAX);
    return e;
}

static enum err count_rows(struct sql *db, const struct table *t, int64_t *out,
                           struct err_info *info)
{
    struct sql_query q;
    char text[TEXT_MAX];
    (void)snprintf(text, sizeof text, "SELECT count(*) FROM %s", t->name);
    sql_begin(&q, db, text);
    while (sql_row(&q))
        *out = sql_int(&q, 0);
    return sql_end(&q, NULL, info);
}

/* "a, b, c", or "$1, $2, $3" */
static void add_list(struct buf *out, const struct table *t, bool names)
{
    char param[16];
    for (unsigned i = 0; i < t->n_columns; i++) {
        (void)snprintf(param, sizeof param, "$%u", i + 1);
        buf_add_str(out, i > 0 ? ", " : "");
        buf_add_str(out, names ? t->columns[i] : param);
    }
}

static enum err insert_row(struct sql *db, const struct table *t, const char *text,
                           struct sql_query *row, struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db, text);
    for (unsigned i = 0; i < t->n_columns; i++) {
        int col = (int)i;
        if (sql_is_null(row, col))
            sql_bind_text(&q, col + 1, NULL);
        else if (t->kinds[i] == KIND_INT)
            sql_bind_int(&q, col + 1, sql_int(row, col));
        else if (t->kinds[i] == KIND_BLOB)
            sql_bind_blob(&q, col + 1, sql_blob(row, col));
        else
            sql_bind_text(&q, col + 1, sql_text(row, col));
    }
    return sql_end(&q, NULL, info);
}

static enum err copy_rows(const struct transfer *tr, const struct table *t, int64_t n_all,
                          struct err_info *info)
{
    struct sql_query q;
    struct buf select, insert;
    int64_t n = 0;
    buf_init(&select, TEXT_MAX);
    buf_init(&insert, TEXT_MAX);
    buf_add_str(&select, "SELECT ");
    add_list(&select, t, true);
    buf_add_str(&select, " FROM ");
    buf_add_str(&select, t->name);
    buf_add_str(&insert, "INSERT INTO ");
    buf_add_str(&insert, t->name);
    buf_add_str(&insert, " (");
    add_list(&insert, t, true);
    buf_add_str(&insert, ") VALUES (");
    add_list(&insert, t, false);
    buf_add_str(&insert, ")");
    enum err e = buf_error(&select), e2;
    if (e == ERR_OK)
        e = buf_error(&insert);
    if (e != ERR_OK) {
        (void)err_set(info, e, "table %s: out of memory", t->name);
        goto out;
    }
    sql_begin(&q, tr->from, buf_str(&select));
    while (e == ERR_OK && sql_row(&q)) {
        e = insert_row(tr->to, t, buf_str(&insert), &q, info);
        if (++n % PROGRESS_ROWS == 0)
            tr->progress(t->name, n, n_all);
    }
    q.done = q.done || e != ERR_OK; /* the rest is of no interest */
    e2 = sql_end(&q, NULL, e == ERR_OK ? info : NULL);
    e = e == ERR_OK ? e2 : e;
out:
    buf_clear(&select);
    buf_clear(&insert);
    return e;
}

/* Rows that were copied brought their numbers along: the next one is after the highest. */
static enum err set_counter(struct sql *db, const struct table *t, struct err_info *info)
{
    struct sql_query q;
    char text[TEXT_MAX];
    if (t->number[0] == 0)
        return ERR_OK;
    (void)snprintf(text, sizeof text,
                   "SELECT setval(pg_get_serial_sequence('%s', '%s'), max(%s)) FROM %s"
                   " HAVING max(%s) > 0 AND pg_get_serial_sequence('%s', '%s') IS NOT NULL",
                   t->name, t->number, t->number, t->name, t->number, t->name, t->number);
    sql_begin(&q, db, text);
    return sql_end(&q, NULL, info);
}

static enum err copy_table(const struct transfer *tr, struct table *t, struct err_info *info)
{
    int64_t n_from = 0, n_to = 0;
    enum err e = read_columns(tr->from, t, info);
    if (e == ERR_OK)
        e = count_rows(tr->to, t, &n_to, info);
    if (e == ERR_OK && n_to > 0)
        e = err_set(info, ERR_EXISTS,
                    "table %s of the target has %lld rows: only an empty database is written to",
                    t->name, (long long)n_to);
    if (e == ERR_OK)
        e = count_rows(tr->from, t, &n_from, info);
    if (e == ERR_OK)
        e = copy_rows(tr, t, n_from, info);
    if (e == ERR_OK)
        e = set_counter(tr->to, t, info);
    if (e == ERR_OK)
        e = count_rows(tr->to, t, &n_to, info);
    if (e == ERR_OK && n_to != n_from)
        e = err_set(info, ERR_INVALID, "table %s: %lld rows of %lld have arrived", t->name,
                    (long long)n_to, (long long)n_from);
    if (e == ERR_OK)
        tr->progress(t->name, n_to, n_from);
    return e;
}

enum err transfer_tables(const struct transfer *t, struct err_info *info)
{
    char names[TABLES_MAX][NAME_MAX_LEN];
    unsigned n = 0;
    enum err e = list_tables(t->from, names, &n, info);
    for (unsigned i = 0; i < n && e == ERR_OK; i++) {
        struct table table = { .n_columns = 0 };
        memcpy(table.name, names[i], sizeof table.name);
        e = copy_table(t, &table, info);
    }
    return e;
}
