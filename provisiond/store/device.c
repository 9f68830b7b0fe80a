#include "provisiond/store/device.h"

#include <string.h>

#include "provisiond/store/token.h"

#define TOUCH_EVERY_S 3600

static const char *const STATES[] = { "active", "suspended", "forgotten" };

const char *device_state_name(enum device_state s)
{
    return (unsigned)s < ARRAY_LEN(STATES) ? STATES[s] : "unknown";
}

#define COLUMNS "id, zone, state, coalesce(token_id, 0), admitted_at, seen_at, coalesce(flag, '')"

static void read_row(struct sql_query *q, struct device_row *row)
{
    *row = (struct device_row){ .token_id = sql_int(q, 3),
                                .admitted_at = sql_int(q, 4),
                                .seen_at = sql_int(q, 5) };
    sql_copy(q, 0, row->id, sizeof row->id);
    sql_copy(q, 1, row->zone, sizeof row->zone);
    sql_copy(q, 6, row->flag, sizeof row->flag);
    row->state = DEVICE_SUSPENDED; /* a state from a newer program is no permission */
    for (unsigned i = 0; i < ARRAY_LEN(STATES); i++) {
        if (strcmp(sql_text(q, 2), STATES[i]) == 0)
            row->state = (enum device_state)i;
    }
}

enum err device_get(struct sql *db, const char *id, struct device_row *out, struct err_info *info)
{
    struct sql_query q;
    struct device_row row;
    bool found = false;
    sql_begin(&q, db, "SELECT " COLUMNS " FROM device WHERE id=$1");
    sql_bind_text(&q, 1, id);
    while (sql_row(&q)) {
        read_row(&q, &row);
        found = true;
    }
    enum err e = sql_end(&q, NULL, info);
    if (e == ERR_OK && !found)
        e = err_set(info, ERR_NOTFOUND, "there is no device %s", id);
    if (e == ERR_OK)
        *out = row;
    return e;
}

static enum err insert(struct sql *db, const char *id, const char *zone, int64_t token_id,
                       int64_t now_s, struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db,
              "INSERT INTO device (id, zone, state, token_id, admitted_at, seen_at)"
              " VALUES ($1, $2, 'active', $3, $4, $4) ON CONFLICT (id) DO UPDATE SET"
              " zone=excluded.zone, state='active', token_id=excluded.token_id,"
              " admitted_at=excluded.admitted_at, seen_at=excluded.seen_at");
    sql_bind_text(&q, 1, id);
    sql_bind_text(&q, 2, zone);
    sql_bind_int(&q, 3, token_id);
    sql_bind_int(&q, 4, now_s);
    return sql_end(&q, NULL, info);
}

enum err device_admit(struct sql *db, const char *id, const char *zone,
                      const uint8_t token_hash[TOKEN_HASH_LEN], int64_t now_s, bool *fresh,
                      struct err_info *info)
{
    struct device_row row;
    int64_t token_id = 0;
    enum err e = device_get(db, id, &row, info);
    if (e == ERR_OK && row.state == DEVICE_SUSPENDED)
        return err_set(info, ERR_ILLEGAL, "the device is suspended");
    if (e == ERR_OK && row.state == DEVICE_ACTIVE) {
        if (strcmp(row.zone, zone) != 0)
            return err_set(info, ERR_EXISTS, "the device is admitted to zone %s already", row.zone);
        *fresh = false;
        return device_touch(db, id, now_s, info);
    }
    if (e == ERR_NOTFOUND)
        e = ERR_OK;
    if (e == ERR_OK && token_hash != NULL)
        e = token_consume(db, token_hash, zone, now_s, &token_id, info);
    if (e == ERR_OK)
        e = insert(db, id, zone, token_id, now_s, info);
    if (e == ERR_OK)
        *fresh = true;
    return e;
}

enum err device_touch(struct sql *db, const char *id, int64_t now_s, struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db, "UPDATE device SET seen_at=$1 WHERE id=$2 AND seen_at<$3");
    sql_bind_int(&q, 1, now_s);
    sql_bind_text(&q, 2, id);
    sql_bind_int(&q, 3, now_s - TOUCH_EVERY_S);
    return sql_end(&q, NULL, info);
}

enum err device_set_state(struct sql *db, const char *id, enum device_state s, int64_t now_s,
                          struct err_info *info)
{
    struct sql_query q;
    int64_t changed = 0;
    sql_begin(&q, db, "UPDATE device SET state=$1 WHERE id=$2");
    sql_bind_text(&q, 1, device_state_name(s));
    sql_bind_text(&q, 2, id);
    enum err e = sql_end(&q, &changed, info);
    if (e == ERR_OK && changed == 0)
        e = err_set(info, ERR_NOTFOUND, "there is no device %s", id);
    if (e != ERR_OK || s == DEVICE_ACTIVE)
        return e;
    sql_begin(&q, db,
              "UPDATE cert_order SET state='canceled', detail=$1, updated_at=$2, fence=fence+1"
              " WHERE device_id=$3 AND state NOT IN ('valid', 'invalid', 'canceled')");
    sql_bind_text(&q, 1, s == DEVICE_SUSPENDED ? "the device was suspended" : "the device is gone");
    sql_bind_int(&q, 2, now_s);
    sql_bind_text(&q, 3, id);
    return sql_end(&q, NULL, info);
}

enum err device_flag(struct sql *db, const char *id, const char *why, struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db, "UPDATE device SET flag=$1 WHERE id=$2");
    sql_bind_text(&q, 1, why);
    sql_bind_text(&q, 2, id);
    return sql_end(&q, NULL, info);
}

enum err device_each(struct sql *db, int64_t limit,
                     void (*fn)(void *arg, const struct device_row *row), void *arg,
                     struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db, "SELECT " COLUMNS " FROM device ORDER BY admitted_at DESC, id LIMIT $1");
    sql_bind_int(&q, 1, limit);
    while (sql_row(&q)) {
        struct device_row row;
        read_row(&q, &row);
        fn(arg, &row);
    }
    return sql_end(&q, NULL, info);
}
