#include "provisiond/store/current.h"

#include <stdlib.h>

#define POLL_IDLE 0 /* poll_at of what is not asked about */
#define CLAIM_MAX 1000
#define POLL_WAIT_MAX_S ((int64_t)86400) /* until the next question; renewal.c */

#define COLUMNS                                                                                    \
    "device_id, zone, order_id, issuer, account, ari_id, not_before, not_after, window_start,"     \
    " window_end, chosen_at, poll_at, failures, explanation, sentinel"

static void read_row(struct sql_query *q, struct current_row *row)
{
    *row = (struct current_row){ .order_id = sql_int(q, 2),
                                 .renewal = { .not_before = sql_int(q, 6),
                                              .not_after = sql_int(q, 7),
                                              .window_start = sql_int(q, 8),
                                              .window_end = sql_int(q, 9),
                                              .chosen_at = sql_int(q, 10),
                                              .poll_at = sql_int(q, 11),
                                              .failures = sql_int(q, 12) } };
    sql_copy(q, 0, row->device_id, sizeof row->device_id);
    sql_copy(q, 1, row->zone, sizeof row->zone);
    sql_copy(q, 3, row->issuer, sizeof row->issuer);
    sql_copy(q, 4, row->account, sizeof row->account);
    sql_copy(q, 5, row->ari_id, sizeof row->ari_id);
    sql_copy(q, 13, row->explanation, sizeof row->explanation);
    row->sentinel = sql_int(q, 14) != 0;
}

enum err current_put(struct sql *db, const struct current_row *row, struct err_info *info)
{
    const struct renewal *r = &row->renewal;
    struct sql_query q;
    sql_begin(&q, db,
              "INSERT INTO current_cert (" COLUMNS ")"
              " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"
              " ON CONFLICT (device_id, zone) DO UPDATE SET order_id=excluded.order_id,"
              " issuer=excluded.issuer, account=excluded.account, ari_id=excluded.ari_id,"
              " not_before=excluded.not_before, not_after=excluded.not_after,"
              " window_start=excluded.window_start, window_end=excluded.window_end,"
              " chosen_at=excluded.chosen_at, poll_at=excluded.poll_at,"
              " failures=excluded.failures, explanation=excluded.explanation,"
              " sentinel=excluded.sentinel"
              " WHERE current_cert.order_id<excluded.order_id");
    sql_bind_text(&q, 1, row->device_id);
    sql_bind_text(&q, 2, row->zone);
    sql_bind_int(&q, 3, row->order_id);
    sql_bind_text(&q, 4, row->issuer);
    sql_bind_text(&q, 5, row->account);
    sql_bind_text(&q, 6, row->ari_id);
    sql_bind_int(&q, 7, r->not_before);
    sql_bind_int(&q, 8, r->not_after);
    sql_bind_int(&q, 9, r->window_start);
    sql_bind_int(&q, 10, r->window_end);
    sql_bind_int(&q, 11, r->chosen_at);
    sql_bind_int(&q, 12, r->poll_at);
    sql_bind_int(&q, 13, r->failures);
    sql_bind_text(&q, 14, row->explanation);
    sql_bind_int(&q, 15, row->sentinel);
    return sql_end(&q, NULL, info);
}

enum err current_get(struct sql *db, const char *device_id, const char *zone,
                     struct current_row *out, struct err_info *info)
{
    struct sql_query q;
    bool found = false;
    sql_begin(&q, db, "SELECT " COLUMNS " FROM current_cert WHERE device_id=$1 AND zone=$2");
    sql_bind_text(&q, 1, device_id);
    sql_bind_text(&q, 2, zone);
    while (sql_row(&q)) {
        read_row(&q, out);
        found = true;
    }
    enum err e = sql_end(&q, NULL, info);
    if (e == ERR_OK && !found)
        e = err_set(info, ERR_NOTFOUND, "the device has no certificate yet");
    return e;
}

/* One that is due and that nobody took in between; *taken tells. */
static enum err take(struct sql *db, const struct current_row *row, int64_t until, bool *taken,
                     struct err_info *info)
{
    struct sql_query q;
    int64_t changed = 0;
    sql_begin(&q, db,
              "UPDATE current_cert SET poll_at=$1 WHERE device_id=$2 AND zone=$3 AND poll_at=$4");
    sql_bind_int(&q, 1, until);
    sql_bind_text(&q, 2, row->device_id);
    sql_bind_text(&q, 3, row->zone);
    sql_bind_int(&q, 4, row->renewal.poll_at);
    enum err e = sql_end(&q, &changed, info);
    *taken = changed == 1;
    return e;
}

struct due {
    struct current_row row;
    bool active; /* its device */
};

/* Appends the rows that are due to a list of at most `max`. */
static enum err list_due(struct sql *db, const char *issuer, bool sentinel, int64_t now_s,
                         int64_t seen_after, int64_t max, struct due *list, size_t *n,
                         struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db,
              "SELECT " COLUMNS ", (SELECT count(*) FROM device WHERE id=device_id"
              " AND state='active' AND seen_at>=$5) FROM current_cert WHERE issuer=$1"
              " AND sentinel=$4 AND poll_at>0 AND poll_at<=$2 ORDER BY poll_at LIMIT $3");
    sql_bind_text(&q, 1, issuer);
    sql_bind_int(&q, 2, now_s);
    sql_bind_int(&q, 3, max - (int64_t)*n);
    sql_bind_int(&q, 4, sentinel);
    sql_bind_int(&q, 5, seen_after);
    while (sql_row(&q) && *n < (size_t)max) {
        list[*n].active = sql_int(&q, 15) != 0;
        read_row(&q, &list[(*n)++].row);
    }
    return sql_end(&q, NULL, info);
}

enum err current_claim(struct sql *db, const char *issuer, int64_t now_s, int64_t lease_until,
                       int64_t seen_after, int64_t max,
                       void (*fn)(void *arg, const struct current_row *row), void *arg,
                       struct err_info *info)
{
    size_t n = 0;
    if (max > CLAIM_MAX)
        max = CLAIM_MAX;
    struct due *list = calloc((size_t)max, sizeof *list);
    if (list == NULL)
        return err_set(info, ERR_NOMEM, "out of memory");
    enum err e = list_due(db, issuer, true, now_s, seen_after, max, list, &n, info);
    if (e == ERR_OK)
        e = list_due(db, issuer, false, now_s, seen_after, max, list, &n, info);
    for (size_t i = 0; i < n && e == ERR_OK; i++) {
        bool taken = false;
        bool wanted = list[i].active && list[i].row.renewal.not_after > now_s;
        e = take(db, &list[i].row, wanted ? lease_until : POLL_IDLE, &taken, info);
        if (e == ERR_OK && taken && wanted)
            fn(arg, &list[i].row);
    }
    free(list);
    return e;
}

enum err current_poll_due(struct sql *db, const char *issuer, int64_t *at, struct err_info *info)
{
    struct sql_query q;
    int64_t first = 0;
    sql_begin(&q, db,
              "SELECT coalesce(min(poll_at), 0) FROM current_cert WHERE issuer=$1"
              " AND sentinel IN (0, 1) AND poll_at>0"); /* as the index has it */
    sql_bind_text(&q, 1, issuer);
    while (sql_row(&q))
        first = sql_int(&q, 0);
    enum err e = sql_end(&q, NULL, info);
    if (e == ERR_OK)
        *at = first;
    return e;
}

enum err current_save(struct sql *db, const struct current_row *row, struct err_info *info)
{
    const struct renewal *r = &row->renewal;
    struct sql_query q;
    sql_begin(&q, db,
              "UPDATE current_cert SET window_start=$1, window_end=$2, chosen_at=$3, poll_at=$4,"
              " failures=$5, explanation=$6 WHERE device_id=$7 AND zone=$8 AND order_id=$9");
    sql_bind_int(&q, 1, r->window_start);
    sql_bind_int(&q, 2, r->window_end);
    sql_bind_int(&q, 3, r->chosen_at);
    sql_bind_int(&q, 4, r->poll_at);
    sql_bind_int(&q, 5, r->failures);
    sql_bind_text(&q, 6, row->explanation);
    sql_bind_text(&q, 7, row->device_id);
    sql_bind_text(&q, 8, row->zone);
    sql_bind_int(&q, 9, row->order_id);
    return sql_end(&q, NULL, info);
}

enum err current_resume(struct sql *db, const struct current_row *row, int64_t now_s,
                        struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db,
              "UPDATE current_cert SET poll_at=$1 WHERE device_id=$2 AND zone=$3 AND order_id=$4"
              " AND poll_at=0 AND ari_id<>'' AND not_after>$1");
    sql_bind_int(&q, 1, now_s);
    sql_bind_text(&q, 2, row->device_id);
    sql_bind_text(&q, 3, row->zone);
    sql_bind_int(&q, 4, row->order_id);
    return sql_end(&q, NULL, info);
}

enum err current_alarm(struct sql *db, const char *issuer, int64_t from, int64_t until,
                       int64_t now_s, struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db,
              "UPDATE current_cert SET poll_at=$1 WHERE issuer=$2 AND not_before>=$3"
              " AND not_before<$4 AND poll_at>$1 AND (window_end>$1 OR window_end=0)");
    sql_bind_int(&q, 1, now_s);
    sql_bind_text(&q, 2, issuer);
    sql_bind_int(&q, 3, from);
    sql_bind_int(&q, 4, until);
    return sql_end(&q, NULL, info);
}

enum err current_clock_back(struct sql *db, const char *issuer, int64_t now_s,
                            struct err_info *info)
{
    enum err e = ERR_OK;
    for (int sentinel = 0; sentinel <= 1 && e == ERR_OK; sentinel++) { /* as the index has it */
        struct sql_query q;
        sql_begin(&q, db,
                  "UPDATE current_cert SET poll_at=$1 + poll_at % $2 WHERE issuer=$3"
                  " AND sentinel=$4 AND poll_at>$1 + $2");
        sql_bind_int(&q, 1, now_s);
        sql_bind_int(&q, 2, POLL_WAIT_MAX_S);
        sql_bind_text(&q, 3, issuer);
        sql_bind_int(&q, 4, sentinel);
        e = sql_end(&q, NULL, info);
    }
    return e;
}

enum err current_forecast(struct sql *db, const char *issuer, int64_t now_s, int64_t days,
                          int64_t seen_after, void (*fn)(void *arg, int64_t day, int64_t n),
                          void *arg, struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db,
              "SELECT CASE WHEN c.chosen_at<=$1 THEN 0 ELSE (c.chosen_at-$1)/86400 END AS day,"
              " count(*) FROM current_cert c JOIN device d ON d.id=c.device_id"
              " WHERE c.issuer=$2 AND c.not_after>$1 AND c.chosen_at<$3 AND d.state='active'"
              " AND d.seen_at>=$4 GROUP BY day ORDER BY day");
    sql_bind_int(&q, 1, now_s);
    sql_bind_text(&q, 2, issuer);
    sql_bind_int(&q, 3, now_s + days * 86400);
    sql_bind_int(&q, 4, seen_after);
    while (sql_row(&q))
        fn(arg, sql_int(&q, 0), sql_int(&q, 1));
    return sql_end(&q, NULL, info);
}
