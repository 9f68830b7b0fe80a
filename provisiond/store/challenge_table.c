#include "provisiond/store/challenge_table.h"

#include <stdlib.h>
#include <string.h>

#include "common/store/challenge_backend.h"
#include "provisiond/store/sql.h"

struct table {
    struct challenge_store base;
    struct sql *db;
};

/* What one call is to do, for sql_transact(). */
struct change {
    const char *zone, *id, *value;
    int64_t order_id, until, now_s;
    int64_t n_changed;
};

static struct sql *db_of(struct challenge_store *s)
{
    return ((struct table *)s)->db;
}

static void table_free(struct challenge_store *s)
{
    sql_close(db_of(s));
    free(s);
}

static enum err table_get(struct challenge_store *s, const char *zone, const char *id,
                          int64_t now_s, struct challenge_value values[CHALLENGE_VALUES_MAX],
                          size_t *n, struct err_info *info)
{
    struct challenge_value found[CHALLENGE_VALUES_MAX];
    struct sql_query q;
    size_t count = 0;
    sql_begin(&q, db_of(s),
              "SELECT value FROM challenge WHERE zone=$1 AND id=$2 AND expires_at>$3"
              " GROUP BY value ORDER BY min(expires_at) LIMIT $4");
    sql_bind_text(&q, 1, zone);
    sql_bind_text(&q, 2, id);
    sql_bind_int(&q, 3, now_s);
    sql_bind_int(&q, 4, CHALLENGE_VALUES_MAX);
    while (sql_row(&q)) {
        if (challenge_value_has_form(sql_text(&q, 0)))
            sql_copy(&q, 0, found[count++].text, sizeof found[0].text);
    }
    enum err e = sql_end(&q, NULL, info);
    if (e == ERR_OK) {
        memcpy(values, found, count * sizeof found[0]);
        *n = count;
    }
    return e;
}

static enum err insert(void *arg, struct sql *db, struct err_info *info)
{
    struct change *c = arg;
    struct sql_query q;
    sql_begin(&q, db,
              "INSERT INTO challenge (zone, id, value, order_id, expires_at)"
              " SELECT $1, $2, $3, $4, $5 WHERE (SELECT count(DISTINCT value) FROM challenge"
              " WHERE zone=$1 AND id=$2 AND expires_at>$6 AND value<>$3) < $7"
              " ON CONFLICT (zone, id, value, order_id) DO UPDATE SET expires_at="
              "CASE WHEN excluded.expires_at>challenge.expires_at THEN excluded.expires_at"
              " ELSE challenge.expires_at END");
    sql_bind_text(&q, 1, c->zone);
    sql_bind_text(&q, 2, c->id);
    sql_bind_text(&q, 3, c->value);
    sql_bind_int(&q, 4, c->order_id);
    sql_bind_int(&q, 5, c->until);
    sql_bind_int(&q, 6, c->now_s);
    sql_bind_int(&q, 7, CHALLENGE_VALUES_MAX);
    return sql_end(&q, &c->n_changed, info);
}

static enum err table_put(struct challenge_store *s, const char *zone, const char *id,
                          int64_t order_id, const char *value, int64_t expires_at, int64_t now_s,
                          struct err_info *info)
{
    struct change c = { zone, id, value, order_id, expires_at, now_s, 0 };
    enum err e = sql_transact(db_of(s), insert, &c, info);
    if (e == ERR_OK && c.n_changed == 0)
        e = err_set(info, ERR_LIMIT, "%d challenge values live for this name already",
                    CHALLENGE_VALUES_MAX);
    return e;
}

static enum err delete (void *arg, struct sql *db, struct err_info *info) {
    const struct change *c = arg; struct sql_query q;
    sql_begin(&q, db, "DELETE FROM challenge WHERE order_id=$1 AND expires_at<=$2");
    sql_bind_int(&q, 1, c->order_id);
    sql_bind_int(&q, 2, c->until);
    enum err e = sql_end(&q, NULL, info);
    if (e != ERR_OK) return e;
    /* what another node is taking away at this moment needs nobody else */
    sql_begin(&q, db,
              "DELETE FROM challenge WHERE expires_at<=$1 AND (zone, id, value, order_id) IN"
              " (SELECT zone, id, value, order_id FROM challenge WHERE expires_at<=$1"
              " LIMIT 1000" SQL_SKIP_LOCKED ")");
    sql_bind_int(&q, 1, c->now_s);
    return sql_end(&q, NULL, info);
}

static enum err table_remove(struct challenge_store *s, int64_t order_id, int64_t until_s,
                             int64_t now_s, struct err_info *info)
{
    struct change c = { .order_id = order_id, .until = until_s, .now_s = now_s };
    return sql_transact(db_of(s), delete, &c, info);
}

static enum err table_orders(struct challenge_store *s, challenge_order_fn *fn, void *arg,
                             struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db_of(s), "SELECT order_id, max(expires_at) FROM challenge GROUP BY order_id");
    while (sql_row(&q))
        fn(arg, sql_int(&q, 0), sql_int(&q, 1));
    return sql_end(&q, NULL, info);
}

static enum err check_table(struct sql *db, struct err_info *info)
{
    bool there = false;
    enum err e = sql_has_table(db, "challenge", &there, info);
    if (e == ERR_OK && !there)
        e = err_set(info, ERR_CONFIG,
                    "the database has no table 'challenge': run deploy/postgres/challenges.sql");
    return e;
}

enum err challenge_table_open(struct challenge_store **out, const char *url, struct err_info *info)
{
    static const struct challenge_ops OPS = { table_free, table_get, table_put, table_remove,
                                              table_orders };
    if (!sql_url_is_postgres(url))
        return challenge_store_open(out, url, true, info);
    struct table *t = calloc(1, sizeof *t);
    if (t == NULL)
        return err_set(info, ERR_NOMEM, "out of memory");
    t->base.ops = &OPS;
    enum err e = sql_connect(&t->db, url, info);
    if (e == ERR_OK)
        e = check_table(t->db, info);
    if (e != ERR_OK) {
        table_free(&t->base);
        return e;
    }
    *out = &t->base;
    return ERR_OK;
}
