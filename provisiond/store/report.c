#include "provisiond/store/report.h"

#include <stdlib.h>
#include <string.h>

/* An active device only: what is suspended or gone has nothing to say. */
#define SELECT                                                                                     \
    "SELECT r.device, d.zone, r.at, r.name, r.nearby, r.body FROM report r"                        \
    " JOIN device d ON d.id=r.device AND d.state='active'"

/* False when out of memory. */
static bool read_row(struct sql_query *q, struct report_row *row)
{
    *row = (struct report_row){ .at = sql_int(q, 2), .nearby = sql_int(q, 4) != 0 };
    sql_copy(q, 0, row->device, sizeof row->device);
    sql_copy(q, 1, row->zone, sizeof row->zone);
    sql_copy(q, 3, row->name, sizeof row->name);
    row->body = strdup(sql_text(q, 5));
    return row->body != NULL;
}

void report_clear(struct report_row *row)
{
    free(row->body);
    row->body = NULL;
}

enum err report_put(struct sql *db, const struct report_row *row, struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db,
              "INSERT INTO report (device, at, name, nearby, body) VALUES ($1, $2, $3, $4, $5)"
              " ON CONFLICT (device) DO UPDATE SET at=excluded.at, name=excluded.name,"
              " nearby=excluded.nearby, body=excluded.body");
    sql_bind_text(&q, 1, row->device);
    sql_bind_int(&q, 2, row->at);
    sql_bind_text(&q, 3, row->name);
    sql_bind_int(&q, 4, row->nearby);
    sql_bind_text(&q, 5, row->body);
    return sql_end(&q, NULL, info);
}

enum err report_get(struct sql *db, const char *device, struct report_row *out,
                    struct err_info *info)
{
    struct sql_query q;
    bool found = false, whole = true;
    struct report_row row = { .body = NULL };
    sql_begin(&q, db, SELECT " WHERE r.device=$1");
    sql_bind_text(&q, 1, device);
    while (!found && sql_row(&q)) {
        found = true;
        whole = read_row(&q, &row);
    }
    enum err e = sql_end(&q, NULL, info);
    if (e == ERR_OK && !found)
        e = err_set(info, ERR_NOTFOUND, "the device has not reported");
    if (e == ERR_OK && !whole)
        e = err_set(info, ERR_NOMEM, "out of memory");
    if (e != ERR_OK) {
        report_clear(&row);
        return e;
    }
    *out = row;
    return ERR_OK;
}

enum err report_each_near(struct sql *db, const char *network, int64_t since_s, int64_t max,
                          void (*fn)(void *arg, struct report_row *row), void *arg,
                          struct err_info *info)
{
    struct sql_query q;
    bool whole = true;
    sql_begin(&q, db,
              SELECT " WHERE r.nearby=1 AND r.at>=$2 AND r.device IN"
                     " (SELECT device FROM observed WHERE network=$1 AND at>=$2)"
                     " ORDER BY r.at DESC, r.device LIMIT $3");
    sql_bind_text(&q, 1, network);
    sql_bind_int(&q, 2, since_s);
    sql_bind_int(&q, 3, max);
    while (whole && sql_row(&q)) {
        struct report_row row;
        whole = read_row(&q, &row);
        if (whole)
            fn(arg, &row);
        report_clear(&row);
    }
    enum err e = sql_end(&q, NULL, info);
    return e == ERR_OK && !whole ? err_set(info, ERR_NOMEM, "out of memory") : e;
}

enum err observed_put(struct sql *db, const char *device, const struct ip *ip, int64_t now_s,
                      struct err_info *info)
{
    struct sql_query q;
    char address[NETWORK_TEXT_MAX], network[NETWORK_TEXT_MAX];
    network_address_text(ip, address);
    network_text(ip, network);
    sql_begin(&q, db,
              "INSERT INTO observed (device, family, address, network, at)"
              " VALUES ($1, $2, $3, $4, $5) ON CONFLICT (device, family) DO UPDATE SET"
              " address=excluded.address, network=excluded.network, at=excluded.at");
    sql_bind_text(&q, 1, device);
    sql_bind_int(&q, 2, ip->family);
    sql_bind_text(&q, 3, address);
    sql_bind_text(&q, 4, network);
    sql_bind_int(&q, 5, now_s);
    return sql_end(&q, NULL, info);
}

enum err observed_list(struct sql *db, const char *device, int64_t since_s,
                       struct observed_row out[OBSERVED_MAX], size_t *n, struct err_info *info)
{
    struct sql_query q;
    *n = 0;
    sql_begin(&q, db,
              "SELECT address, at FROM observed WHERE device=$1 AND at>=$2"
              " ORDER BY family");
    sql_bind_text(&q, 1, device);
    sql_bind_int(&q, 2, since_s);
    while (*n < OBSERVED_MAX && sql_row(&q)) {
        struct observed_row row = { .at = sql_int(&q, 1) };
        sql_copy(&q, 0, row.address, sizeof row.address);
        if (network_parse(&row.ip, row.address))
            out[(*n)++] = row;
    }
    return sql_end(&q, NULL, info);
}

enum err report_delete(struct sql *db, const char *device, struct err_info *info)
{
    static const char *const TEXTS[] = { "DELETE FROM report WHERE device=$1",
                                         "DELETE FROM observed WHERE device=$1" };
    enum err e = ERR_OK;
    for (size_t i = 0; i < ARRAY_LEN(TEXTS) && e == ERR_OK; i++) {
        struct sql_query q;
        sql_begin(&q, db, TEXTS[i]);
        sql_bind_text(&q, 1, device);
        e = sql_end(&q, NULL, info);
    }
    return e;
}

enum err report_prune(struct sql *db, int64_t before_s, int64_t max, int64_t *n_removed,
                      struct err_info *info)
{
    /* the age again outside: one that reported meanwhile stays */
    static const char *const TEXTS[] = {
        "DELETE FROM report WHERE at<$1 AND device IN"
        " (SELECT device FROM report WHERE at<$1 ORDER BY at LIMIT $2)",
        "DELETE FROM observed WHERE at<$1 AND device IN"
        " (SELECT device FROM observed WHERE at<$1 ORDER BY at LIMIT $2)",
    };
    enum err e = ERR_OK;
    for (size_t i = 0; i < ARRAY_LEN(TEXTS) && e == ERR_OK; i++) {
        struct sql_query q;
        int64_t n = 0;
        sql_begin(&q, db, TEXTS[i]);
        sql_bind_int(&q, 1, before_s);
        sql_bind_int(&q, 2, max);
        e = sql_end(&q, &n, info);
        *n_removed += n;
    }
    return e;
}
