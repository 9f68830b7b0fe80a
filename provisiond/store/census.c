#include "provisiond/store/census.h"

#include <string.h>

#include "provisiond/store/device.h"
#include "provisiond/store/order.h"
#include "provisiond/store/report.h"

#define DAY_S 86400

static enum err count_devices(struct sql *db, struct census *out, struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db, "SELECT state, count(*) FROM device GROUP BY state");
    while (sql_row(&q)) {
        for (unsigned i = 0; i < ARRAY_LEN(out->devices); i++) {
            if (strcmp(sql_text(&q, 0), device_state_name((enum device_state)i)) == 0)
                out->devices[i] = (uint64_t)sql_int(&q, 1);
        }
    }
    return sql_end(&q, NULL, info);
}

static enum err count_reporting(struct sql *db, int64_t now_s, struct census *out,
                                struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db, "SELECT count(*) FROM report WHERE at>=$1");
    sql_bind_int(&q, 1, now_s - INT64_C(2) * REPORT_EVERY_S);
    while (sql_row(&q))
        out->reporting = (uint64_t)sql_int(&q, 0);
    return sql_end(&q, NULL, info);
}

static enum err count_orders(struct sql *db, struct census *out, struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db,
              "SELECT state, count(*) FROM cert_order"
              " WHERE " ORDER_OPEN " GROUP BY state");
    while (sql_row(&q)) {
        enum order_state s;
        if (order_state_parse(&s, sql_text(&q, 0)) == ERR_OK)
            out->orders[s] = (uint64_t)sql_int(&q, 1);
    }
    return sql_end(&q, NULL, info);
}

static void add_days(struct census *out, int64_t day, uint64_t n)
{
    static const int64_t DAYS[CENSUS_DAYS_N - 1] = CENSUS_DAYS;
    size_t i = 0;
    while (i < CENSUS_DAYS_N - 1 && day >= DAYS[i])
        i++;
    out->days[i] += n;
}

/* Whole days left, rounded down: what has expired is below 0. */
static enum err count_certificates(struct sql *db, int64_t now_s, struct census *out,
                                   struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db,
              "SELECT CASE WHEN c.not_after<=$1 THEN -1 ELSE (c.not_after-$1)/$2 END AS day,"
              " count(*), sum(CASE WHEN c.not_after>$1 AND (c.not_after-$1)*6<c.not_after-"
              "c.not_before THEN 1 ELSE 0 END)"
              " FROM device d JOIN certificate c ON c.id=(SELECT max(n.id) FROM certificate n"
              " WHERE n.device_id=d.id) WHERE d.state='active' GROUP BY day");
    sql_bind_int(&q, 1, now_s);
    sql_bind_int(&q, 2, DAY_S);
    while (sql_row(&q)) {
        add_days(out, sql_int(&q, 0), (uint64_t)sql_int(&q, 1));
        out->at_risk += (uint64_t)sql_int(&q, 2);
    }
    return sql_end(&q, NULL, info);
}

static enum err count_lanes(struct sql *db, struct census *out, struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db,
              "SELECT lane, count(*) FROM cert_order"
              " WHERE " ORDER_OPEN " GROUP BY lane");
    while (sql_row(&q)) {
        if (sql_int(&q, 0) >= 0 && sql_int(&q, 0) < LANE_N)
            out->lanes[sql_int(&q, 0)] = (uint64_t)sql_int(&q, 1);
    }
    return sql_end(&q, NULL, info);
}

static enum err count_windows(struct sql *db, int64_t now_s, struct census *out,
                              struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db,
              "SELECT count(*) FROM current_cert c JOIN device d ON d.id=c.device_id"
              " WHERE d.state='active' AND c.window_end>0 AND c.window_end<=$1 AND c.not_after>$1");
    sql_bind_int(&q, 1, now_s);
    while (sql_row(&q))
        out->windows_missed = (uint64_t)sql_int(&q, 0);
    return sql_end(&q, NULL, info);
}

enum err census_take(struct sql *db, int64_t now_s, struct census *out, struct err_info *info)
{
    struct census c = { 0 };
    enum err e = count_devices(db, &c, info);
    if (e == ERR_OK)
        e = count_reporting(db, now_s, &c, info);
    if (e == ERR_OK)
        e = count_orders(db, &c, info);
    if (e == ERR_OK)
        e = count_certificates(db, now_s, &c, info);
    if (e == ERR_OK)
        e = count_lanes(db, &c, info);
    if (e == ERR_OK)
        e = count_windows(db, now_s, &c, info);
    if (e == ERR_OK)
        *out = c;
    return e;
}
