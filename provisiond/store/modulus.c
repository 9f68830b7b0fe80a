#include "provisiond/store/modulus.h"

#include <string.h>

#include "provisiond/core/rsakey.h"
#include "provisiond/store/device.h"

static const char SELECT[] = "SELECT modulus, device_id FROM rsa_modulus WHERE zone=$1"
                             " ORDER BY id DESC LIMIT $2";

static void begin_select(struct sql_query *q, struct sql *db, const char *zone)
{
    sql_begin(q, db, SELECT);
    sql_bind_text(q, 1, zone);
    sql_bind_int(q, 2, MODULUS_KEPT);
}

/* The product of all of them, modulo n; *known when n is one of them. */
static enum err multiply(struct sql *db, const char *zone, struct span n, struct rsakey_product *p,
                         bool *known, struct err_info *info)
{
    struct sql_query q;
    bool ok = true;
    *known = false;
    begin_select(&q, db, zone);
    while (sql_row(&q)) {
        struct span other = sql_blob(&q, 0);
        if (other.len == n.len && memcmp(other.p, n.p, n.len) == 0)
            *known = true;
        else
            ok = ok && rsakey_product_add(p, other);
    }
    enum err e = sql_end(&q, NULL, info);
    return e == ERR_OK && !ok ? err_set(info, ERR_NOMEM, "out of memory") : e;
}

/* Whose modulus has the prime. */
static enum err find(struct sql *db, const char *zone, const struct rsakey_product *p,
                     char other[DEVID_LEN + 1], struct err_info *info)
{
    struct sql_query q;
    begin_select(&q, db, zone);
    while (sql_row(&q)) {
        if (other[0] == 0 && rsakey_product_divides(p, sql_blob(&q, 0)))
            sql_copy(&q, 1, other, DEVID_LEN + 1);
    }
    return sql_end(&q, NULL, info);
}

static enum err keep(struct sql *db, const char *zone, const char *device_id, struct span n,
                     int64_t now_s, struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db,
              "INSERT INTO rsa_modulus (zone, device_id, modulus, seen_at)"
              " VALUES ($1, $2, $3, $4)");
    sql_bind_text(&q, 1, zone);
    sql_bind_text(&q, 2, device_id);
    sql_bind_blob(&q, 3, n);
    sql_bind_int(&q, 4, now_s);
    enum err e = sql_end(&q, NULL, info);
    if (e != ERR_OK)
        return e;
    sql_begin(&q, db,
              "DELETE FROM rsa_modulus WHERE zone=$1 AND id<=(SELECT id FROM rsa_modulus"
              " WHERE zone=$1 ORDER BY id DESC LIMIT 1 OFFSET $2)");
    sql_bind_text(&q, 1, zone);
    sql_bind_int(&q, 2, MODULUS_KEPT);
    return sql_end(&q, NULL, info);
}

enum err modulus_claim(struct sql *db, const char *zone, const char *device_id, struct span n,
                       int64_t now_s, bool *shared, struct err_info *info)
{
    struct rsakey_product *p = NULL;
    char other[DEVID_LEN + 1] = "";
    bool known = false;
    enum err e = rsakey_product_new(&p, n);
    if (e != ERR_OK)
        return err_set(info, e, "out of memory");
    e = multiply(db, zone, n, p, &known, info);
    *shared = e == ERR_OK && !known && rsakey_product_shares(p);
    if (e == ERR_OK && *shared) {
        e = find(db, zone, p, other, info);
        if (e == ERR_OK && other[0] != 0)
            e = device_flag(db, other, "its RSA key shares a prime with another one", info);
        if (e == ERR_OK)
            e = device_flag(db, device_id, "its RSA key shares a prime with another one", info);
    } else if (e == ERR_OK && !known) {
        e = keep(db, zone, device_id, n, now_s, info);
    }
    rsakey_product_free(p);
    return e;
}
