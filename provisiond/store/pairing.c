#include "provisiond/store/pairing.h"

#define DAY_S 86400

/* Runs a query of one number, which has one parameter. */
static enum err ask_number(struct sql *db, const char *text, int64_t parameter, int64_t *out,
                           struct err_info *info)
{
    struct sql_query q;
    int64_t n = 0;
    sql_begin(&q, db, text);
    sql_bind_int(&q, 1, parameter);
    while (sql_row(&q))
        n = sql_int(&q, 0);
    enum err e = sql_end(&q, NULL, info);
    if (e == ERR_OK)
        *out = n;
    return e;
}

enum err pairing_put(struct sql *db, const char *device, const uint8_t hash[PAIRING_HASH_LEN],
                     int64_t now_s, int64_t expires_at, struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db, "DELETE FROM pairing_code WHERE expires_at<=$1");
    sql_bind_int(&q, 1, now_s);
    enum err e = sql_end(&q, NULL, info);
    if (e != ERR_OK)
        return e;
    sql_begin(&q, db,
              "INSERT INTO pairing_code (device_id, hash, expires_at) VALUES ($1, $2, $3)"
              " ON CONFLICT (device_id) DO UPDATE SET hash=excluded.hash,"
              " expires_at=excluded.expires_at");
    sql_bind_text(&q, 1, device);
    sql_bind_blob(&q, 2, (struct span){ hash, PAIRING_HASH_LEN });
    sql_bind_int(&q, 3, expires_at);
    return sql_end(&q, NULL, info);
}

/* One statement finds and removes it. */
static enum err remove_code(struct sql *db, const uint8_t hash[PAIRING_HASH_LEN], int64_t now_s,
                            bool *found, char device[DEVID_LEN + 1], struct err_info *info)
{
    struct sql_query q;
    *found = false;
    sql_begin(&q, db,
              "DELETE FROM pairing_code WHERE hash=$1 AND expires_at>$2 AND EXISTS"
              " (SELECT 1 FROM device d WHERE d.id=pairing_code.device_id AND d.state='active')"
              " RETURNING device_id");
    sql_bind_blob(&q, 1, (struct span){ hash, PAIRING_HASH_LEN });
    sql_bind_int(&q, 2, now_s);
    while (sql_row(&q)) {
        sql_copy(&q, 0, device, DEVID_LEN + 1);
        *found = true;
    }
    return sql_end(&q, NULL, info);
}

static enum err count_guess(struct sql *db, int64_t day, int64_t n_live, struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db, "DELETE FROM pairing_guess WHERE day<$1");
    sql_bind_int(&q, 1, day);
    enum err e = sql_end(&q, NULL, info);
    if (e != ERR_OK)
        return e;
    sql_begin(&q, db,
              "INSERT INTO pairing_guess (day, units) VALUES ($1, $2) ON CONFLICT (day) DO UPDATE"
              " SET units=pairing_guess.units+excluded.units");
    sql_bind_int(&q, 1, day);
    sql_bind_int(&q, 2, n_live);
    return sql_end(&q, NULL, info);
}

enum err pairing_spent(struct sql *db, int64_t now_s, int64_t *out, struct err_info *info)
{
    *out = 0;
    return ask_number(db, "SELECT units FROM pairing_guess WHERE day=$1", now_s / DAY_S, out, info);
}

enum err pairing_take(struct sql *db, const uint8_t hash[PAIRING_HASH_LEN], int64_t now_s,
                      enum pairing *out, char device[DEVID_LEN + 1], struct err_info *info)
{
    int64_t day = now_s / DAY_S, n_live = 0, spent = 0;
    bool found = false;
    enum err e = ask_number(db, "SELECT count(*) FROM pairing_code WHERE expires_at>$1", now_s,
                            &n_live, info);
    if (e == ERR_OK)
        e = pairing_spent(db, now_s, &spent, info);
    if (e == ERR_OK && !pairing_may_try(spent, n_live)) {
        *out = PAIRING_CLOSED;
        return ERR_OK;
    }
    if (e == ERR_OK)
        e = remove_code(db, hash, now_s, &found, device, info);
    if (e == ERR_OK && !found && n_live > 0)
        e = count_guess(db, day, n_live, info);
    if (e == ERR_OK)
        *out = found ? PAIRING_TAKEN : PAIRING_WRONG;
    return e;
}
