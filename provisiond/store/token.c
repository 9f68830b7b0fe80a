#include "provisiond/store/token.h"

enum err token_insert(struct sql *db, const struct token_row *row,
                      const uint8_t hash[TOKEN_HASH_LEN], int64_t *id, struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db,
              "INSERT INTO token (hash, zone, label, quota, created_at, expires_at)"
              " VALUES ($1, $2, $3, $4, $5, $6) RETURNING id");
    sql_bind_blob(&q, 1, (struct span){ hash, TOKEN_HASH_LEN });
    sql_bind_text(&q, 2, row->zone);
    sql_bind_text(&q, 3, row->label);
    sql_bind_int(&q, 4, row->quota);
    sql_bind_int(&q, 5, row->created_at);
    sql_bind_int(&q, 6, row->expires_at);
    while (sql_row(&q))
        *id = sql_int(&q, 0);
    return sql_end(&q, NULL, info);
}

enum err token_consume(struct sql *db, const uint8_t hash[TOKEN_HASH_LEN], const char *zone,
                       int64_t now_s, int64_t *id, struct err_info *info)
{
    struct sql_query q;
    int64_t found = 0;
    sql_begin(&q, db,
              "UPDATE token SET used=used+1 WHERE hash=$1 AND zone=$2 AND used<quota"
              " AND expires_at>$3 AND revoked_at IS NULL AND held_at IS NULL RETURNING id");
    sql_bind_blob(&q, 1, (struct span){ hash, TOKEN_HASH_LEN });
    sql_bind_text(&q, 2, zone);
    sql_bind_int(&q, 3, now_s);
    while (sql_row(&q))
        found = sql_int(&q, 0);
    enum err e = sql_end(&q, NULL, info);
    if (e == ERR_OK && found == 0)
        e = err_set(info, ERR_DENIED, "the enrolment token is not valid");
    if (e == ERR_OK)
        *id = found;
    return e;
}

enum err token_revoke(struct sql *db, int64_t id, int64_t now_s, struct err_info *info)
{
    struct sql_query q;
    int64_t changed = 0;
    sql_begin(&q, db, "UPDATE token SET revoked_at=coalesce(revoked_at, $1) WHERE id=$2");
    sql_bind_int(&q, 1, now_s);
    sql_bind_int(&q, 2, id);
    enum err e = sql_end(&q, &changed, info);
    if (e == ERR_OK && changed == 0)
        e = err_set(info, ERR_NOTFOUND, "there is no token %lld", (long long)id);
    return e;
}

enum err token_revoke_all(struct sql *db, int64_t now_s, int64_t *n, struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db, "UPDATE token SET revoked_at=$1 WHERE revoked_at IS NULL");
    sql_bind_int(&q, 1, now_s);
    return sql_end(&q, n, info);
}

enum err token_hold_all(struct sql *db, int64_t now_s, int64_t *n, struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db, "UPDATE token SET held_at=$1 WHERE revoked_at IS NULL AND held_at IS NULL");
    sql_bind_int(&q, 1, now_s);
    return sql_end(&q, n, info);
}

enum err token_release(struct sql *db, int64_t id, int64_t *n, struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db,
              "UPDATE token SET held_at=NULL WHERE held_at IS NOT NULL AND (id=$1 OR $1=0)");
    sql_bind_int(&q, 1, id);
    return sql_end(&q, n, info);
}

enum err token_each(struct sql *db, void (*fn)(void *arg, const struct token_row *row), void *arg,
                    struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db,
              "SELECT id, zone, label, quota, used, created_at, expires_at,"
              " coalesce(revoked_at, 0), coalesce(held_at, 0) FROM token ORDER BY id");
    while (sql_row(&q)) {
        struct token_row row = { .id = sql_int(&q, 0),
                                 .quota = sql_int(&q, 3),
                                 .used = sql_int(&q, 4),
                                 .created_at = sql_int(&q, 5),
                                 .expires_at = sql_int(&q, 6),
                                 .revoked_at = sql_int(&q, 7),
                                 .held_at = sql_int(&q, 8) };
        sql_copy(&q, 1, row.zone, sizeof row.zone);
        sql_copy(&q, 2, row.label, sizeof row.label);
        fn(arg, &row);
    }
    return sql_end(&q, NULL, info);
}
