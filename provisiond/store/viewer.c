#include "provisiond/store/viewer.h"

#define TOUCH_EVERY_S 86400

/* A token ends by not being used; an account is the vendor's to end. */
#define LIVES "(kind=1 OR seen_at>$"

static struct span hash_of(const struct viewer *v)
{
    return (struct span){ v->hash, sizeof v->hash };
}

/* Makes room for one more token of the device: those that have ended go, and what is too many. */
static enum err drop_oldest(struct sql *db, const char *device, int64_t now_s,
                            struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db, "DELETE FROM viewer WHERE device_id=$1 AND kind=0 AND seen_at<=$2");
    sql_bind_text(&q, 1, device);
    sql_bind_int(&q, 2, now_s - VIEWER_UNUSED_S);
    enum err e = sql_end(&q, NULL, info);
    if (e != ERR_OK)
        return e;
    sql_begin(&q, db,
              "DELETE FROM viewer WHERE device_id=$1 AND kind=0 AND hash NOT IN"
              " (SELECT hash FROM viewer WHERE device_id=$1 AND kind=0"
              " ORDER BY seen_at DESC, hash LIMIT $2)");
    sql_bind_text(&q, 1, device);
    sql_bind_int(&q, 2, VIEWER_TOKENS_MAX - 1);
    return sql_end(&q, NULL, info);
}

static enum err check_room(struct sql *db, const struct viewer *v, const char *device,
                           struct err_info *info)
{
    struct sql_query q;
    int64_t n = 0;
    sql_begin(&q, db, "SELECT count(*) FROM viewer WHERE hash=$1 AND device_id<>$2");
    sql_bind_blob(&q, 1, hash_of(v));
    sql_bind_text(&q, 2, device);
    while (sql_row(&q))
        n = sql_int(&q, 0);
    enum err e = sql_end(&q, NULL, info);
    if (e == ERR_OK && n >= VIEWER_DEVICES_MAX)
        e = err_set(info, ERR_LIMIT, "an account has at most %d devices", VIEWER_DEVICES_MAX);
    return e;
}

enum err viewer_add(struct sql *db, const struct viewer *v, const char *device, int64_t now_s,
                    struct err_info *info)
{
    struct sql_query q;
    enum err e = v->kind == VIEWER_TOKEN ? drop_oldest(db, device, now_s, info)
                                         : check_room(db, v, device, info);
    if (e != ERR_OK)
        return e;
    sql_begin(&q, db,
              "INSERT INTO viewer (hash, device_id, kind, created_at, seen_at)"
              " VALUES ($1, $2, $3, $4, $4) ON CONFLICT (hash, device_id) DO NOTHING");
    sql_bind_blob(&q, 1, hash_of(v));
    sql_bind_text(&q, 2, device);
    sql_bind_int(&q, 3, v->kind);
    sql_bind_int(&q, 4, now_s);
    return sql_end(&q, NULL, info);
}

enum err viewer_devices(struct sql *db, const struct viewer *v, int64_t now_s,
                        char (*out)[DEVID_LEN + 1], size_t *n, struct err_info *info)
{
    struct sql_query q;
    *n = 0;
    sql_begin(&q, db,
              "SELECT device_id FROM viewer WHERE hash=$1 AND kind=$2 AND " LIVES "3)"
              " AND EXISTS (SELECT 1 FROM device d WHERE d.id=device_id AND d.state='active')"
              " ORDER BY created_at, device_id LIMIT $4");
    sql_bind_blob(&q, 1, hash_of(v));
    sql_bind_int(&q, 2, v->kind);
    sql_bind_int(&q, 3, now_s - VIEWER_UNUSED_S);
    sql_bind_int(&q, 4, VIEWER_DEVICES_MAX);
    while (sql_row(&q))
        sql_copy(&q, 0, out[(*n)++], DEVID_LEN + 1);
    enum err e = sql_end(&q, NULL, info);
    if (e != ERR_OK || *n == 0)
        return e;
    sql_begin(&q, db, "UPDATE viewer SET seen_at=$1 WHERE hash=$2 AND seen_at<$3");
    sql_bind_int(&q, 1, now_s);
    sql_bind_blob(&q, 2, hash_of(v));
    sql_bind_int(&q, 3, now_s - TOUCH_EVERY_S);
    return sql_end(&q, NULL, info);
}

enum err viewer_remove(struct sql *db, const struct viewer *v, const char *device, int64_t *n,
                       struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db, "DELETE FROM viewer WHERE hash=$1 AND device_id=$2");
    sql_bind_blob(&q, 1, hash_of(v));
    sql_bind_text(&q, 2, device);
    return sql_end(&q, n, info);
}

enum err viewer_remove_all(struct sql *db, const char *device, int64_t *n, struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db, "DELETE FROM pairing_code WHERE device_id=$1");
    sql_bind_text(&q, 1, device);
    enum err e = sql_end(&q, NULL, info);
    if (e != ERR_OK)
        return e;
    sql_begin(&q, db, "DELETE FROM viewer WHERE device_id=$1");
    sql_bind_text(&q, 1, device);
    return sql_end(&q, n, info);
}

enum err viewer_count(struct sql *db, const char *device, int64_t now_s, int64_t *n_tokens,
                      int64_t *n_accounts, struct err_info *info)
{
    struct sql_query q;
    *n_tokens = *n_accounts = 0;
    sql_begin(&q, db,
              "SELECT kind, count(*) FROM viewer WHERE device_id=$1 AND " LIVES "2) GROUP BY kind");
    sql_bind_text(&q, 1, device);
    sql_bind_int(&q, 2, now_s - VIEWER_UNUSED_S);
    while (sql_row(&q)) {
        int64_t *n = sql_int(&q, 0) == VIEWER_TOKEN ? n_tokens : n_accounts;
        *n = sql_int(&q, 1);
    }
    return sql_end(&q, NULL, info);
}
