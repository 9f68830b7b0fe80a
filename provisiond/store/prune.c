#include "provisiond/store/prune.h"

#define LOOK_N 4000 /* order numbers in one call */
#define REMOVE_MAX 1000

static enum err find(struct sql *db, int64_t before_s, int64_t after, int64_t ids[REMOVE_MAX],
                     size_t *n, struct err_info *info)
{
    struct sql_query q;
    *n = 0;
    sql_begin(&q, db,
              "SELECT o.id FROM cert_order o WHERE o.id>$1 AND o.id<=$2 AND o.updated_at<$3"
              " AND o.state IN ('valid', 'invalid', 'canceled')"
              " AND EXISTS (SELECT 1 FROM cert_order n WHERE n.device_id=o.device_id"
              " AND n.zone=o.zone AND n.id>o.id AND n.state<>'canceled')"
              " AND NOT EXISTS (SELECT 1 FROM certificate c WHERE c.order_id=o.id"
              " AND c.not_after>=$3)"
              " AND NOT EXISTS (SELECT 1 FROM revocation r WHERE r.order_id=o.id"
              " AND r.state='pending') ORDER BY o.id LIMIT $4");
    sql_bind_int(&q, 1, after);
    sql_bind_int(&q, 2, after + LOOK_N);
    sql_bind_int(&q, 3, before_s);
    sql_bind_int(&q, 4, REMOVE_MAX);
    while (sql_row(&q))
        ids[(*n)++] = sql_int(&q, 0);
    return sql_end(&q, NULL, info);
}

static enum err remove_one(struct sql *db, int64_t id, struct err_info *info)
{
    static const char *const TEXTS[] = { "DELETE FROM certificate WHERE order_id=$1",
                                         "DELETE FROM revocation WHERE order_id=$1",
                                         "DELETE FROM cert_order WHERE id=$1" };
    enum err e = ERR_OK;
    for (size_t i = 0; i < ARRAY_LEN(TEXTS) && e == ERR_OK; i++) {
        struct sql_query q;
        sql_begin(&q, db, TEXTS[i]);
        sql_bind_int(&q, 1, id);
        e = sql_end(&q, NULL, info);
    }
    return e;
}

static enum err highest(struct sql *db, int64_t *out, struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db, "SELECT coalesce(max(id), 0) FROM cert_order");
    while (sql_row(&q))
        *out = sql_int(&q, 0);
    return sql_end(&q, NULL, info);
}

enum err prune_orders(struct sql *db, int64_t before_s, int64_t *after, int64_t *n_removed,
                      struct err_info *info)
{
    int64_t ids[REMOVE_MAX], last = 0;
    size_t n = 0;
    enum err e = highest(db, &last, info);
    if (e == ERR_OK)
        e = find(db, before_s, *after, ids, &n, info);
    for (size_t i = 0; i < n && e == ERR_OK; i++)
        e = remove_one(db, ids[i], info);
    if (e != ERR_OK)
        return e;
    *n_removed += (int64_t)n;
    int64_t next = n == REMOVE_MAX ? ids[n - 1] : *after + LOOK_N;
    *after = next >= last ? 0 : next;
    return ERR_OK;
}
