#include "provisiond/store/revocation.h"

#include <string.h>

#include "provisiond/store/device.h"
#include "provisiond/store/order.h"

static const struct {
    enum revocation_reason code;
    const char *name;
} REASONS[] = {
    { REVOCATION_UNSPECIFIED, "unspecified" },
    { REVOCATION_KEY_COMPROMISE, "keyCompromise" },
    { REVOCATION_SUPERSEDED, "superseded" },
    { REVOCATION_CESSATION, "cessationOfOperation" },
};

const char *revocation_reason_name(enum revocation_reason r)
{
    for (size_t i = 0; i < ARRAY_LEN(REASONS); i++) {
        if (REASONS[i].code == r)
            return REASONS[i].name;
    }
    return "unspecified";
}

enum err revocation_reason_parse(enum revocation_reason *out, const char *text)
{
    for (size_t i = 0; i < ARRAY_LEN(REASONS); i++) {
        if (strcmp(REASONS[i].name, text) == 0) {
            *out = REASONS[i].code;
            return ERR_OK;
        }
    }
    return ERR_INVALID;
}

/* Which certificates a request is about: $1 device, $2 now, $3 serial or "". */
#define WANTED "c.device_id=$1 AND c.not_after>CAST($2 AS BIGINT) AND ($3='' OR c.serial=$3)"

static void bind_wanted(struct sql_query *q, const char *device_id, const char *serial,
                        int64_t now_s)
{
    sql_bind_text(q, 1, device_id);
    sql_bind_int(q, 2, now_s);
    sql_bind_text(q, 3, serial);
}

static enum err count_wanted(struct sql *db, const char *device_id, const char *serial,
                             int64_t now_s, int64_t *n, struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db, "SELECT count(*) FROM certificate c WHERE " WANTED);
    bind_wanted(&q, device_id, serial, now_s);
    while (sql_row(&q))
        *n = sql_int(&q, 0);
    return sql_end(&q, NULL, info);
}

static enum err insert(struct sql *db, const char *device_id, const char *serial,
                       enum revocation_reason reason, int64_t now_s, struct err_info *info)
{
    struct sql_query q;
    /* a compromise that comes to light later counts more than what was said before */
    sql_begin(
        &q, db,
        "INSERT INTO revocation (order_id, device_id, reason, state, due_at, failures,"
        " requested_at)"
        " SELECT c.order_id, c.device_id, CAST($4 AS BIGINT), 'pending', CAST($2 AS BIGINT), 0,"
        " CAST($2 AS BIGINT) FROM certificate c"
        " WHERE " WANTED " ON CONFLICT (order_id) DO UPDATE SET"
        " state=CASE WHEN excluded.reason=1 AND revocation.reason<>1 THEN 'pending'"
        " ELSE revocation.state END,"
        " reason=CASE WHEN excluded.reason=1 THEN 1 ELSE revocation.reason END");
    bind_wanted(&q, device_id, serial, now_s);
    sql_bind_int(&q, 4, reason);
    return sql_end(&q, NULL, info);
}

static enum err block_keys(struct sql *db, const char *device_id, const char *serial, int64_t now_s,
                           struct err_info *info)
{
    struct sql_query q;
    sql_begin(
        &q, db,
        "INSERT INTO blocked_key (spki_sha256, device_id, blocked_at)"
        " SELECT c.spki_sha256, c.device_id, CAST($2 AS BIGINT) FROM certificate c WHERE " WANTED
        " ON CONFLICT (spki_sha256) DO NOTHING");
    bind_wanted(&q, device_id, serial, now_s);
    enum err e = sql_end(&q, NULL, info);
    if (e == ERR_OK)
        e = device_expect_unseen(db, device_id, now_s, info);
    if (e != ERR_OK)
        return e;
    sql_begin(&q, db,
              "UPDATE cert_order SET state='canceled', detail='its key was compromised',"
              " updated_at=$1, fence=fence+1 WHERE device_id=$2"
              " AND " ORDER_OPEN " AND spki_sha256 IN (SELECT spki_sha256 FROM blocked_key)");
    sql_bind_int(&q, 1, now_s);
    sql_bind_text(&q, 2, device_id);
    return sql_end(&q, NULL, info);
}

enum err revocation_request(struct sql *db, const char *device_id, const char *serial,
                            enum revocation_reason reason, int64_t now_s, int64_t *n,
                            struct err_info *info)
{
    int64_t count = 0;
    const char *which = serial != NULL ? serial : "";
    enum err e = count_wanted(db, device_id, which, now_s, &count, info);
    if (e == ERR_OK && serial != NULL && count == 0)
        e = err_set(info, ERR_NOTFOUND, "the device has no valid certificate of that serial");
    if (e == ERR_OK && count > 0)
        e = insert(db, device_id, which, reason, now_s, info);
    if (e == ERR_OK && count > 0 && reason == REVOCATION_KEY_COMPROMISE)
        e = block_keys(db, device_id, which, now_s, info);
    if (e == ERR_OK)
        *n = count;
    return e;
}

enum err revocation_of_order(struct sql *db, int64_t order_id, bool *revoked,
                             enum revocation_reason *reason, struct err_info *info)
{
    struct sql_query q;
    bool found = false;
    sql_begin(&q, db, "SELECT reason FROM revocation WHERE order_id=$1");
    sql_bind_int(&q, 1, order_id);
    while (sql_row(&q)) {
        *reason = (enum revocation_reason)sql_int(&q, 0);
        found = true;
    }
    enum err e = sql_end(&q, NULL, info);
    if (e == ERR_OK)
        *revoked = found;
    return e;
}

static enum err chain_of(struct sql *db, struct revocation_row *row, struct buf *chain,
                         struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db,
              "SELECT issuer, chain, device_id, zone, coalesce(account, '') FROM certificate"
              " WHERE order_id=$1");
    sql_bind_int(&q, 1, row->order_id);
    while (sql_row(&q)) {
        sql_copy(&q, 0, row->issuer, sizeof row->issuer);
        buf_reset(chain);
        buf_add_str(chain, sql_text(&q, 1));
        sql_copy(&q, 2, row->device_id, sizeof row->device_id);
        sql_copy(&q, 3, row->zone, sizeof row->zone);
        sql_copy(&q, 4, row->account, sizeof row->account);
    }
    enum err e = sql_end(&q, NULL, info);
    return e == ERR_OK ? buf_error(chain) : e;
}

enum err revocation_claim(struct sql *db, int64_t now_s, int64_t lease_until,
                          struct revocation_row *out, struct buf *chain, struct err_info *info)
{
    struct sql_query q;
    struct revocation_row row = { .order_id = 0 };
    /* the condition again outside: of two nodes that chose the same one, the later updates none */
    sql_begin(&q, db,
              "UPDATE revocation SET due_at=$1 WHERE state='pending' AND due_at<=$2 AND order_id="
              "(SELECT order_id FROM revocation WHERE state='pending' AND due_at<=$2"
              " ORDER BY due_at, order_id LIMIT 1) RETURNING order_id, reason, failures");
    sql_bind_int(&q, 1, lease_until);
    sql_bind_int(&q, 2, now_s);
    while (sql_row(&q)) {
        row.order_id = sql_int(&q, 0);
        row.reason = (enum revocation_reason)sql_int(&q, 1);
        row.failures = sql_int(&q, 2);
    }
    enum err e = sql_end(&q, NULL, info);
    if (e == ERR_OK && row.order_id == 0)
        return ERR_NOTFOUND;
    if (e == ERR_OK)
        e = chain_of(db, &row, chain, info);
    if (e == ERR_OK)
        *out = row;
    return e;
}

enum err revocation_end(struct sql *db, int64_t order_id, const char *problem, int64_t now_s,
                        struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db,
              "UPDATE revocation SET state=$1, problem=$2, ended_at=$3 WHERE order_id=$4"
              " AND state='pending'");
    sql_bind_text(&q, 1, problem[0] == 0 ? "done" : "failed");
    sql_bind_text(&q, 2, problem);
    sql_bind_int(&q, 3, now_s);
    sql_bind_int(&q, 4, order_id);
    return sql_end(&q, NULL, info);
}

enum err revocation_retry(struct sql *db, int64_t order_id, const char *problem, int64_t due_at,
                          struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db,
              "UPDATE revocation SET failures=failures+1, problem=$1, due_at=$2 WHERE order_id=$3"
              " AND state='pending'");
    sql_bind_text(&q, 1, problem);
    sql_bind_int(&q, 2, due_at);
    sql_bind_int(&q, 3, order_id);
    return sql_end(&q, NULL, info);
}

enum err revocation_each(struct sql *db, const char *device_id, int64_t limit,
                         void (*fn)(void *arg, const struct revocation_state *r), void *arg,
                         struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db,
              "SELECT c.serial, r.reason, r.state, coalesce(r.problem, '') FROM revocation r"
              " JOIN certificate c ON c.order_id=r.order_id WHERE c.device_id=$1"
              " ORDER BY r.order_id DESC LIMIT $2");
    sql_bind_text(&q, 1, device_id);
    sql_bind_int(&q, 2, limit);
    while (sql_row(&q)) {
        struct revocation_state r = { .reason = (enum revocation_reason)sql_int(&q, 1) };
        sql_copy(&q, 0, r.serial, sizeof r.serial);
        sql_copy(&q, 2, r.state, sizeof r.state);
        sql_copy(&q, 3, r.problem, sizeof r.problem);
        fn(arg, &r);
    }
    return sql_end(&q, NULL, info);
}

enum err revocation_listed(struct sql *db, const char *issuer, int64_t now_s,
                           void (*fn)(void *arg, const char *serial, int reason, int64_t at),
                           void *arg, struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db,
              "SELECT c.serial, r.reason, r.ended_at FROM revocation r"
              " JOIN certificate c ON c.order_id=r.order_id WHERE r.state='done' AND c.issuer=$1"
              " AND c.not_after>$2 ORDER BY r.order_id");
    sql_bind_text(&q, 1, issuer);
    sql_bind_int(&q, 2, now_s);
    while (sql_row(&q))
        fn(arg, sql_text(&q, 0), (int)sql_int(&q, 1), sql_int(&q, 2));
    return sql_end(&q, NULL, info);
}
