#include "provisiond/store/orderlist.h"

#include "provisiond/store/device.h"
#include "provisiond/store/order.h"

enum err orderlist_each(struct sql *db, const struct orderlist_filter *f,
                        void (*fn)(void *arg, const struct orderlist_row *row), void *arg,
                        struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db,
              "SELECT id, device_id, zone, issuer, state, lost, due_at, created_at, lease_until,"
              " coalesce(problem, ''), coalesce(detail, ''), coalesce(url, '') FROM cert_order"
              " WHERE ($1=0 OR (" ORDER_OPEN ")) AND ($2=0 OR id=$2) AND ($3='' OR device_id=$3)"
              " ORDER BY id DESC LIMIT $4");
    sql_bind_int(&q, 1, f->open_only);
    sql_bind_int(&q, 2, f->id);
    sql_bind_text(&q, 3, f->device_id != NULL ? f->device_id : "");
    sql_bind_int(&q, 4, f->limit);
    while (sql_row(&q)) {
        struct orderlist_row row = { .id = sql_int(&q, 0),
                                     .lost = sql_int(&q, 5),
                                     .due_at = sql_int(&q, 6),
                                     .created_at = sql_int(&q, 7),
                                     .held = sql_int(&q, 8) > f->now_s };
        sql_copy(&q, 1, row.device_id, sizeof row.device_id);
        sql_copy(&q, 2, row.zone, sizeof row.zone);
        sql_copy(&q, 3, row.issuer, sizeof row.issuer);
        sql_copy(&q, 9, row.problem, sizeof row.problem);
        sql_copy(&q, 10, row.detail, sizeof row.detail);
        sql_copy(&q, 11, row.url, sizeof row.url);
        if (order_state_parse(&row.state, sql_text(&q, 4)) != ERR_OK)
            row.state = ORDER_ILLEGAL; /* of a newer program */
        fn(arg, &row);
    }
    return sql_end(&q, NULL, info);
}

enum err orderlist_hurry(struct sql *db, int64_t id, int64_t now_s, struct err_info *info)
{
    struct sql_query q;
    int64_t changed = 0;
    sql_begin(
        &q, db,
        "UPDATE cert_order SET due_at=$1, wake_at=0, updated_at=$1 WHERE id=$2 AND lease_until<=$1"
        " AND " ORDER_OPEN);
    sql_bind_int(&q, 1, now_s);
    sql_bind_int(&q, 2, id);
    enum err e = sql_end(&q, &changed, info);
    if (e == ERR_OK && changed == 0)
        e = err_set(info, ERR_NOTFOUND,
                    "no order %lld waits: it is at an end, or a node works on it", (long long)id);
    return e;
}

enum err orderlist_cancel(struct sql *db, int64_t id, int64_t now_s, struct err_info *info)
{
    struct sql_query q;
    struct order_row row;
    int64_t changed = 0;
    enum err e = order_get(db, id, &row, info);
    if (e == ERR_OK)
        e = device_expect_unseen(db, row.device_id, now_s, info);
    if (e != ERR_OK && e != ERR_NOTFOUND)
        return e;
    sql_begin(&q, db,
              "UPDATE cert_order SET state='canceled', detail='canceled by the operator',"
              " updated_at=$1, fence=fence+1 WHERE id=$2 AND " ORDER_OPEN);
    sql_bind_int(&q, 1, now_s);
    sql_bind_int(&q, 2, id);
    e = sql_end(&q, &changed, info);
    if (e == ERR_OK && changed == 0)
        e = err_set(info, ERR_NOTFOUND, "no order %lld is open", (long long)id);
    return e;
}
