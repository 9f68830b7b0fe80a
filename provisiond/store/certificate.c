#include "provisiond/store/certificate.h"

enum err certificate_insert(struct sql *db, const struct order_row *order,
                            const struct certificate_row *cert, const char *chain_pem,
                            struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db,
              "INSERT INTO certificate (order_id, device_id, zone, issuer, serial, csr_sha256,"
              " spki_sha256, not_before, not_after, issued_at, ari_id, chain, account)"
              " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
              " ON CONFLICT (order_id) DO NOTHING");
    sql_bind_int(&q, 1, order->id);
    sql_bind_text(&q, 2, order->device_id);
    sql_bind_text(&q, 3, order->zone);
    sql_bind_text(&q, 4, order->issuer);
    sql_bind_text(&q, 5, cert->serial);
    sql_bind_blob(&q, 6, (struct span){ order->csr_sha256, ORDER_HASH_LEN });
    sql_bind_blob(&q, 7, (struct span){ order->spki_sha256, ORDER_HASH_LEN });
    sql_bind_int(&q, 8, cert->not_before);
    sql_bind_int(&q, 9, cert->not_after);
    sql_bind_int(&q, 10, cert->issued_at);
    sql_bind_text(&q, 11, cert->ari_id);
    sql_bind_text(&q, 12, chain_pem);
    sql_bind_text(&q, 13, order->account);
    return sql_end(&q, NULL, info);
}

#define COLUMNS                                                                                    \
    "order_id, serial, issuer, not_before, not_after, issued_at, ari_id, coalesce(account, '')"

static void read_row(struct sql_query *q, struct certificate_row *row)
{
    *row = (struct certificate_row){ .order_id = sql_int(q, 0),
                                     .not_before = sql_int(q, 3),
                                     .not_after = sql_int(q, 4),
                                     .issued_at = sql_int(q, 5) };
    sql_copy(q, 1, row->serial, sizeof row->serial);
    sql_copy(q, 2, row->issuer, sizeof row->issuer);
    sql_copy(q, 6, row->ari_id, sizeof row->ari_id);
    sql_copy(q, 7, row->account, sizeof row->account);
}

enum err certificate_get(struct sql *db, int64_t order_id, struct certificate_row *out,
                         struct buf *chain, struct err_info *info)
{
    struct sql_query q;
    bool found = false;
    sql_begin(&q, db, "SELECT " COLUMNS ", chain FROM certificate WHERE order_id=$1");
    sql_bind_int(&q, 1, order_id);
    while (sql_row(&q)) {
        read_row(&q, out);
        if (chain != NULL)
            buf_add_str(chain, sql_text(&q, 8));
        found = true;
    }
    enum err e = sql_end(&q, NULL, info);
    if (e == ERR_OK && !found)
        e = err_set(info, ERR_NOTFOUND, "there is no certificate of order %lld",
                    (long long)order_id);
    return e == ERR_OK && chain != NULL ? buf_error(chain) : e;
}

enum err certificate_each(struct sql *db, const char *device_id, int64_t limit,
                          void (*fn)(void *arg, const struct certificate_row *row), void *arg,
                          struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db,
              "SELECT " COLUMNS " FROM certificate WHERE device_id=$1 ORDER BY id DESC LIMIT $2");
    sql_bind_text(&q, 1, device_id);
    sql_bind_int(&q, 2, limit);
    while (sql_row(&q)) {
        struct certificate_row row;
        read_row(&q, &row);
        fn(arg, &row);
    }
    return sql_end(&q, NULL, info);
}

enum err certificate_newest(struct sql *db, const char *zone, const char *device_id,
                            struct buf *chain, struct err_info *info)
{
    struct sql_query q;
    bool found = false;
    sql_begin(&q, db,
              device_id[0] != 0
                  ? "SELECT chain FROM certificate WHERE zone=$1 AND device_id=$2"
                    " ORDER BY id DESC LIMIT 1"
                  : "SELECT chain FROM certificate WHERE zone=$1 ORDER BY id DESC LIMIT 1");
    sql_bind_text(&q, 1, zone);
    if (device_id[0] != 0)
        sql_bind_text(&q, 2, device_id);
    while (sql_row(&q)) {
        buf_add_str(chain, sql_text(&q, 0));
        found = true;
    }
    enum err e = sql_end(&q, NULL, info);
    if (e == ERR_OK && !found && device_id[0] != 0)
        return certificate_newest(db, zone, "", chain, info);
    if (e == ERR_OK && !found)
        e = err_set(info, ERR_NOTFOUND, "there is no certificate in zone %s", zone);
    return e == ERR_OK ? buf_error(chain) : e;
}
