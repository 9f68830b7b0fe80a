#include "provisiond/store/prune.h"

#define LOOK_N 2000 /* order numbers in one call */

static enum err highest(struct sql *db, int64_t *out, struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db, "SELECT coalesce(max(id), 0) FROM cert_order");
    while (sql_row(&q))
        *out = sql_int(&q, 0);
    return sql_end(&q, NULL, info);
}

static enum err remove_orders(struct sql *db, int64_t before_s, int64_t after, int64_t *n,
                              struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db,
              "DELETE FROM cert_order WHERE id IN (SELECT o.id FROM cert_order o"
              " WHERE o.id>$1 AND o.id<=$2 AND o.updated_at<$3"
              " AND o.state IN ('valid', 'invalid', 'canceled')"
              " AND EXISTS (SELECT 1 FROM cert_order n WHERE n.device_id=o.device_id"
              " AND n.zone=o.zone AND n.id>o.id AND n.state<>'canceled')"
              " AND NOT EXISTS (SELECT 1 FROM certificate c WHERE c.order_id=o.id"
              " AND c.not_after>=$3)"
              /* what the device had last: GET /v1/renewal reads it, however long ago it ended */
              " AND NOT EXISTS (SELECT 1 FROM current_cert k WHERE k.device_id=o.device_id"
              " AND k.zone=o.zone AND k.order_id=o.id)"
              " AND NOT EXISTS (SELECT 1 FROM revocation r WHERE r.order_id=o.id"
              " AND r.state='pending'))");
    sql_bind_int(&q, 1, after);
    sql_bind_int(&q, 2, after + LOOK_N);
    sql_bind_int(&q, 3, before_s);
    return sql_end(&q, n, info);
}

/* What belonged to the orders that are gone. */
static enum err remove_rest(struct sql *db, int64_t after, struct err_info *info)
{
    static const char *const TEXTS[] = {
        "DELETE FROM certificate WHERE order_id>$1 AND order_id<=$2"
        " AND NOT EXISTS (SELECT 1 FROM cert_order o WHERE o.id=certificate.order_id)",
        "DELETE FROM revocation WHERE order_id>$1 AND order_id<=$2"
        " AND NOT EXISTS (SELECT 1 FROM cert_order o WHERE o.id=revocation.order_id)",
    };
    enum err e = ERR_OK;
    for (size_t i = 0; i < ARRAY_LEN(TEXTS) && e == ERR_OK; i++) {
        struct sql_query q;
        sql_begin(&q, db, TEXTS[i]);
        sql_bind_int(&q, 1, after);
        sql_bind_int(&q, 2, after + LOOK_N);
        e = sql_end(&q, NULL, info);
    }
    return e;
}

enum err prune_orders(struct sql *db, int64_t before_s, int64_t *after, int64_t *n_removed,
                      struct err_info *info)
{
    int64_t last = 0, n = 0;
    enum err e = highest(db, &last, info);
    if (e == ERR_OK)
        e = remove_orders(db, before_s, *after, &n, info);
    if (e == ERR_OK && n > 0)
        e = remove_rest(db, *after, info);
    if (e != ERR_OK)
        return e;
    *n_removed += n;
    *after = *after + LOOK_N >= last ? 0 : *after + LOOK_N;
    return ERR_OK;
}
