#include "provisiond/store/ledger.h"

#define CLOSED_MAX_S ((int64_t)86400) /* on top of the period */

const char *ledger_account_name(size_t account)
{
    static const char *const NAMES[LEDGER_ACCOUNTS_MAX] = { "",   "2",  "3",  "4",  "5",  "6",
                                                            "7",  "8",  "9",  "10", "11", "12",
                                                            "13", "14", "15", "16" };
    return NAMES[account % LEDGER_ACCOUNTS_MAX];
}

static void bind_key(struct sql_query *q, const struct ledger_key *key)
{
    sql_bind_text(q, 1, key->issuer);
    sql_bind_int(q, 2, key->kind);
    sql_bind_text(q, 3, key->name);
}

enum err ledger_get(struct sql *db, const struct ledger_key *key, int64_t *tat_us,
                    struct err_info *info)
{
    struct sql_query q;
    *tat_us = 0;
    sql_begin(&q, db, "SELECT tat_us FROM bucket WHERE issuer=$1 AND kind=$2 AND name=$3");
    bind_key(&q, key);
    while (sql_row(&q))
        *tat_us = sql_int(&q, 0);
    return sql_end(&q, NULL, info);
}

enum err ledger_spend(struct sql *db, const struct ledger_key *key, struct bucket_limit limit,
                      int64_t reserve, int64_t now_us, bool *spent, struct err_info *info)
{
    struct sql_query q;
    int64_t changed = 0;
    if (limit.count == 0) {
        *spent = true;
        return ERR_OK;
    }
    /* bucket_wait_us() and bucket_spend() in one statement: nobody can spend in between */
    sql_begin(&q, db,
              "INSERT INTO bucket (issuer, kind, name, tat_us) VALUES ($1, $2, $3, $4 + $5)"
              " ON CONFLICT (issuer, kind, name) DO UPDATE SET tat_us="
              "CASE WHEN bucket.tat_us>$4 THEN bucket.tat_us ELSE $4 END + $5"
              " WHERE bucket.tat_us<=$6");
    bind_key(&q, key);
    sql_bind_int(&q, 4, now_us);
    sql_bind_int(&q, 5, bucket_step_us(limit));
    sql_bind_int(&q, 6, now_us + bucket_reach_us(limit, reserve));
    enum err e = sql_end(&q, &changed, info);
    if (e == ERR_OK)
        *spent = changed == 1;
    return e;
}

enum err ledger_count(struct sql *db, const struct ledger_key *key, struct bucket_limit limit,
                      int64_t now_us, struct err_info *info)
{
    struct sql_query q;
    if (limit.count == 0)
        return ERR_OK;
    sql_begin(&q, db,
              "INSERT INTO bucket (issuer, kind, name, tat_us) VALUES ($1, $2, $3, $4 + $5)"
              " ON CONFLICT (issuer, kind, name) DO UPDATE SET tat_us="
              "CASE WHEN bucket.tat_us>$4 THEN bucket.tat_us ELSE $4 END + $5");
    bind_key(&q, key);
    sql_bind_int(&q, 4, now_us);
    sql_bind_int(&q, 5, bucket_step_us(limit));
    return sql_end(&q, NULL, info);
}

enum err ledger_reopen(struct sql *db, const struct ledger_key *key, bool *there,
                       struct err_info *info)
{
    struct sql_query q;
    int64_t changed = 0;
    sql_begin(&q, db, "DELETE FROM bucket WHERE issuer=$1 AND kind=$2 AND name=$3");
    bind_key(&q, key);
    enum err e = sql_end(&q, &changed, info);
    if (e == ERR_OK)
        *there = changed == 1;
    return e;
}

enum err ledger_refund(struct sql *db, const struct ledger_key *key, struct bucket_limit limit,
                       struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db,
              "UPDATE bucket SET tat_us=tat_us - $4 WHERE issuer=$1 AND kind=$2 AND name=$3");
    bind_key(&q, key);
    sql_bind_int(&q, 4, bucket_step_us(limit));
    return sql_end(&q, NULL, info);
}

enum err ledger_park(struct sql *db, const struct ledger_key *key, struct bucket_limit limit,
                     int64_t until_us, struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db,
              "INSERT INTO bucket (issuer, kind, name, tat_us) VALUES ($1, $2, $3, $4)"
              " ON CONFLICT (issuer, kind, name) DO UPDATE SET tat_us=excluded.tat_us"
              " WHERE bucket.tat_us<excluded.tat_us");
    bind_key(&q, key);
    sql_bind_int(&q, 4, bucket_park(0, limit, until_us));
    return sql_end(&q, NULL, info);
}

enum err ledger_clock_back(struct sql *db, const char *issuer,
                           const struct bucket_limit limits[BUCKET_KIND_N], int64_t now_us,
                           struct err_info *info)
{
    enum err e = ERR_OK;
    for (int kind = 0; kind < BUCKET_KIND_N && e == ERR_OK; kind++) {
        struct sql_query q;
        sql_begin(&q, db, "UPDATE bucket SET tat_us=$1 WHERE issuer=$2 AND kind=$3 AND tat_us>$1");
        sql_bind_int(&q, 1, now_us + (limits[kind].period_s + CLOSED_MAX_S) * 1000000);
        sql_bind_text(&q, 2, issuer);
        sql_bind_int(&q, 3, kind);
        e = sql_end(&q, NULL, info);
    }
    return e;
}

enum err ledger_prune(struct sql *db, int64_t now_us, int64_t max, struct err_info *info)
{
    struct sql_query q;
    /* the second condition: a bucket may have been spent from since it was looked for */
    sql_begin(&q, db,
              "DELETE FROM bucket WHERE tat_us<=$1 AND (issuer, kind, name) IN"
              " (SELECT issuer, kind, name FROM bucket WHERE tat_us<=$1 ORDER BY tat_us LIMIT $2)");
    sql_bind_int(&q, 1, now_us);
    sql_bind_int(&q, 2, max);
    return sql_end(&q, NULL, info);
}

enum err ledger_count_closed(struct sql *db, const char *issuer, enum bucket_kind kind,
                             struct bucket_limit limit, int64_t now_us, int64_t *n,
                             struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db, "SELECT count(*) FROM bucket WHERE issuer=$1 AND kind=$2 AND tat_us>$3");
    sql_bind_text(&q, 1, issuer);
    sql_bind_int(&q, 2, kind);
    sql_bind_int(&q, 3, now_us + bucket_reach_us(limit, 0));
    while (sql_row(&q))
        *n = sql_int(&q, 0);
    return sql_end(&q, NULL, info);
}
