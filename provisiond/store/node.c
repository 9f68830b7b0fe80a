#include "provisiond/store/node.h"

#include "provisiond/store/order.h"

#define FORGET_S ((int64_t)7 * 86400)

enum err node_touch(struct sql *db, const char *name, int64_t now_s, struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db,
              "INSERT INTO node (name, version, seen_at) VALUES ($1, $2, $3)"
              " ON CONFLICT (name) DO UPDATE SET version=excluded.version,"
              " seen_at=excluded.seen_at");
    sql_bind_text(&q, 1, name);
    sql_bind_text(&q, 2, LANYARD_VERSION);
    sql_bind_int(&q, 3, now_s);
    enum err e = sql_end(&q, NULL, info);
    if (e != ERR_OK)
        return e;
    sql_begin(&q, db, "DELETE FROM node WHERE seen_at<$1");
    sql_bind_int(&q, 1, now_s - FORGET_S);
    return sql_end(&q, NULL, info);
}

enum err node_release_dead(struct sql *db, int64_t seen_since, int64_t *released,
                           struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db,
              "UPDATE cert_order SET lease_until=0, wake_at=due_at WHERE lease_until<>0"
              " AND " ORDER_OPEN " AND lease_by IN (SELECT name FROM node WHERE seen_at<$1)");
    sql_bind_int(&q, 1, seen_since);
    return sql_end(&q, released, info);
}

enum err node_each(struct sql *db, void (*fn)(void *arg, const struct node_row *row), void *arg,
                   struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db, "SELECT name, version, seen_at FROM node ORDER BY name");
    while (sql_row(&q)) {
        struct node_row row = { .seen_at = sql_int(&q, 2) };
        sql_copy(&q, 0, row.name, sizeof row.name);
        sql_copy(&q, 1, row.version, sizeof row.version);
        fn(arg, &row);
    }
    return sql_end(&q, NULL, info);
}
