#include "provisiond/store/order.h"

#include <string.h>

#include "provisiond/store/device.h"
#include "provisiond/store/key.h"
#include "provisiond/store/modulus.h"
#include "provisiond/store/queue.h"
#include "provisiond/store/revocation.h"

static enum err copy_blob(struct sql_query *q, int col, uint8_t *out, size_t len)
{
    struct span s = sql_blob(q, col);
    if (s.len != len)
        return ERR_INVALID;
    memcpy(out, s.p, len);
    return ERR_OK;
}

static enum err read_row(struct sql_query *q, struct order_row *row)
{
    *row = (struct order_row){ .id = sql_int(q, 0),
                               .bare_name = sql_int(q, 8) != 0,
                               .failures = sql_int(q, 10),
                               .lost = sql_int(q, 11),
                               .due_at = sql_int(q, 12),
                               .begun_at = sql_int(q, 13),
                               .fence = sql_int(q, 16),
                               .lane = (enum lane)sql_int(q, 18),
                               .paid = sql_int(q, 21),
                               .account_no = sql_int(q, 22),
                               .replaces_until = sql_int(q, 5) };
    sql_copy(q, 1, row->device_id, sizeof row->device_id);
    sql_copy(q, 2, row->zone, sizeof row->zone);
    sql_copy(q, 3, row->issuer, sizeof row->issuer);
    sql_copy(q, 9, row->url, sizeof row->url);
    sql_copy(q, 14, row->problem, sizeof row->problem);
    sql_copy(q, 15, row->detail, sizeof row->detail);
    sql_copy(q, 17, row->account, sizeof row->account);
    sql_copy(q, 19, row->replaces, sizeof row->replaces);
    sql_copy(q, 20, row->replaces_account, sizeof row->replaces_account);
    enum err e = order_state_parse(&row->state, sql_text(q, 4));
    if (e == ERR_OK)
        e = copy_blob(q, 6, row->csr_sha256, sizeof row->csr_sha256);
    if (e == ERR_OK)
        e = copy_blob(q, 7, row->spki_sha256, sizeof row->spki_sha256);
    return e;
}

enum err order_fetch(struct sql_query *q, struct order_row *out, struct err_info *info)
{
    bool found = false;
    enum err bad = ERR_OK;
    while (sql_row(q)) {
        bad = read_row(q, out);
        found = true;
    }
    enum err e = sql_end(q, NULL, info);
    if (e == ERR_OK && !found)
        e = err_set(info, ERR_NOTFOUND, "there is no such order");
    if (e == ERR_OK && bad != ERR_OK)
        e = err_set(info, ERR_UNAVAILABLE, "an order in the database cannot be read");
    return e;
}

/* What an earlier order for the very same CSR says; *found is its number, 0 when there was none. */
static enum err same_csr(struct sql *db, const struct order_row *row, int64_t now_s, int64_t *found,
                         enum order_submit *out, struct err_info *info)
{
    struct sql_query q;
    *found = 0;
    sql_begin(&q, db,
              "SELECT o.state, coalesce(c.not_after, 0), o.id FROM cert_order o"
              " LEFT JOIN certificate c ON c.order_id=o.id"
              " WHERE o.device_id=$1 AND o.zone=$2 AND o.csr_sha256=$3 AND o.state<>'canceled'"
              " ORDER BY o.id DESC LIMIT 1");
    sql_bind_text(&q, 1, row->device_id);
    sql_bind_text(&q, 2, row->zone);
    sql_bind_blob(&q, 3, (struct span){ row->csr_sha256, ORDER_HASH_LEN });
    while (sql_row(&q)) {
        enum order_state s;
        if (order_state_parse(&s, sql_text(&q, 0)) != ERR_OK)
            continue;
        if (s == ORDER_VALID && sql_int(&q, 1) <= now_s)
            continue; /* it had a certificate once; a new one is a new order */
        *found = sql_int(&q, 2);
        *out = s == ORDER_VALID     ? ORDER_SUBMIT_DONE
               : s == ORDER_INVALID ? ORDER_SUBMIT_INVALID
                                    : ORDER_SUBMIT_QUEUED;
    }
    return sql_end(&q, NULL, info);
}

/* A certificate that was revoked is not handed out again. */
static enum err check_revoked(struct sql *db, int64_t order_id, enum order_submit *out,
                              struct err_info *info)
{
    bool revoked = false;
    enum revocation_reason reason;
    enum err e = revocation_of_order(db, order_id, &revoked, &reason, info);
    if (revoked)
        *out = ORDER_SUBMIT_REVOKED;
    return e;
}

static enum err count_today(struct sql *db, const char *device_id, int64_t now_s, int64_t *n,
                            struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db, "SELECT count(*) FROM cert_order WHERE device_id=$1 AND created_at>$2");
    sql_bind_text(&q, 1, device_id);
    sql_bind_int(&q, 2, now_s - 86400);
    while (sql_row(&q))
        *n = sql_int(&q, 0);
    return sql_end(&q, NULL, info);
}

static enum err cancel_open(struct sql *db, const struct order_row *row, int64_t now_s,
                            struct err_info *info)
{
    struct sql_query q;
    enum err e = device_expect_unseen(db, row->device_id, now_s, info);
    if (e != ERR_OK)
        return e;
    sql_begin(&q, db,
              "UPDATE cert_order SET state='canceled', detail='replaced by a newer request',"
              " updated_at=$1, fence=fence+1 WHERE device_id=$2 AND zone=$3 AND " ORDER_OPEN);
    sql_bind_int(&q, 1, now_s);
    sql_bind_text(&q, 2, row->device_id);
    sql_bind_text(&q, 3, row->zone);
    return sql_end(&q, NULL, info);
}

/* In its place from the start: to move it there later would write each index twice. */
static enum err insert(struct sql *db, struct order_row *row, struct span csr,
                       const struct queue_place *place, int64_t now_s, struct err_info *info)
{
    struct sql_query q;
    sql_begin(
        &q, db,
        "INSERT INTO cert_order (device_id, zone, issuer, state, csr, csr_sha256, spki_sha256,"
        " bare_name, due_at, begun_at, created_at, updated_at, lane, deadline_at, pays, replaces,"
        " replaces_account, exempt_from, exempt_until, failover_at, replaces_until)"
        " VALUES ($1, $2, $3, 'queued', $4, $5, $6, $7, $8, $8, $8, $8, $9, $10, $11, $12, $13,"
        " $14, $15, $16, $17) RETURNING " ORDER_COLUMNS);
    sql_bind_text(&q, 1, row->device_id);
    sql_bind_text(&q, 2, row->zone);
    sql_bind_text(&q, 3, row->issuer);
    sql_bind_blob(&q, 4, csr);
    sql_bind_blob(&q, 5, (struct span){ row->csr_sha256, ORDER_HASH_LEN });
    sql_bind_blob(&q, 6, (struct span){ row->spki_sha256, ORDER_HASH_LEN });
    sql_bind_int(&q, 7, row->bare_name);
    sql_bind_int(&q, 8, now_s);
    sql_bind_int(&q, 9, place->schedule.lane);
    sql_bind_int(&q, 10, place->schedule.deadline_at);
    sql_bind_int(&q, 11, place->schedule.pays);
    sql_bind_text(&q, 12, place->replaces);
    sql_bind_text(&q, 13, place->replaces_account);
    sql_bind_int(&q, 14, place->schedule.exempt_from);
    sql_bind_int(&q, 15, place->schedule.exempt_until);
    sql_bind_int(&q, 16, place->schedule.failover_at);
    sql_bind_int(&q, 17, place->replaces_until);
    struct order_row made;
    enum err e = order_fetch(&q, &made, info);
    if (e == ERR_OK)
        *row = made;
    return e;
}

/* Whether the key is this device's alone; otherwise *out says what is wrong with it. */
static enum err judge_key(struct sql *db, const struct order_row *row, const struct order_csr *csr,
                          int64_t now_s, enum order_submit *out, struct err_info *info)
{
    bool reused = false, shared = false;
    enum err e = key_claim(db, row->spki_sha256, row->device_id, now_s, &reused, info);
    if (e == ERR_OK && !reused && csr->rsa_modulus.len > 0)
        e = modulus_claim(db, row->zone, row->device_id, csr->rsa_modulus, now_s, &shared, info);
    if (e == ERR_OK && reused)
        *out = ORDER_SUBMIT_REUSED;
    else if (e == ERR_OK && shared)
        *out = ORDER_SUBMIT_SHARED_PRIME;
    return e;
}

enum err order_submit(struct sql *db, struct order_row *row, const struct order_csr *csr,
                      int64_t max_per_day, const struct schedule_policy *policy, int64_t now_s,
                      enum order_submit *out, struct err_info *info)
{
    struct queue_place place;
    bool blocked = false;
    int64_t today = 0, id = 0;
    enum err e = key_is_blocked(db, row->spki_sha256, &blocked, info);
    if (e == ERR_OK && blocked) {
        *out = ORDER_SUBMIT_COMPROMISED;
        return ERR_OK;
    }
    if (e == ERR_OK)
        e = same_csr(db, row, now_s, &id, out, info);
    if (e == ERR_OK && id != 0 && *out == ORDER_SUBMIT_DONE)
        e = check_revoked(db, id, out, info);
    if (e == ERR_OK && id != 0)
        return order_get(db, id, row, info);
    if (e == ERR_OK)
        e = count_today(db, row->device_id, now_s, &today, info);
    if (e == ERR_OK && today >= max_per_day) { /* before anything is kept of the request */
        *out = ORDER_SUBMIT_TOO_MANY;
        return ERR_OK;
    }
    *out = ORDER_SUBMIT_QUEUED;
    if (e == ERR_OK)
        e = judge_key(db, row, csr, now_s, out, info);
    if (e == ERR_OK && *out != ORDER_SUBMIT_QUEUED)
        return ERR_OK;
    if (e == ERR_OK)
        e = cancel_open(db, row, now_s, info);
    if (e == ERR_OK)
        e = queue_place(db, row, policy, now_s, &place, info);
    if (e == ERR_OK)
        e = insert(db, row, csr->der, &place, now_s, info);
    return e;
}

enum err order_latest(struct sql *db, const char *device_id, const char *zone,
                      struct order_row *out, struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db,
              "SELECT " ORDER_COLUMNS " FROM cert_order WHERE device_id=$1 AND zone=$2"
              " AND state<>'canceled' ORDER BY id DESC LIMIT 1");
    sql_bind_text(&q, 1, device_id);
    sql_bind_text(&q, 2, zone);
    return order_fetch(&q, out, info);
}

enum err order_get(struct sql *db, int64_t id, struct order_row *out, struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db, "SELECT " ORDER_COLUMNS " FROM cert_order WHERE id=$1");
    sql_bind_int(&q, 1, id);
    return order_fetch(&q, out, info);
}

enum err order_csr(struct sql *db, int64_t id, struct buf *out, struct err_info *info)
{
    struct sql_query q;
    bool found = false;
    sql_begin(&q, db, "SELECT csr FROM cert_order WHERE id=$1");
    sql_bind_int(&q, 1, id);
    while (sql_row(&q)) {
        buf_add_span(out, sql_blob(&q, 0));
        found = true;
    }
    enum err e = sql_end(&q, NULL, info);
    if (e == ERR_OK && !found)
        e = err_set(info, ERR_NOTFOUND, "there is no order %lld", (long long)id);
    return e == ERR_OK ? buf_error(out) : e;
}

enum err order_save(struct sql *db, const struct order_row *row, int64_t lease_until, int64_t now_s,
                    struct err_info *info)
{
    struct sql_query q;
    int64_t changed = 0;
    sql_begin(
        &q, db,
        "UPDATE cert_order SET state=$1, url=$2, failures=$3, lost=$4, due_at=$5, begun_at=$6,"
        " problem=$7, detail=$8, lease_until=$9, updated_at=$10, account=$11, replaces=$14,"
        " exempt_until=CASE WHEN $14='' THEN 0 ELSE exempt_until END," /* the CA counts it */
        " paid=$15, wake_at=CASE WHEN $9>0 THEN $9 ELSE $5 END WHERE id=$12 AND fence=$13");
    sql_bind_text(&q, 1, order_state_name(row->state));
    sql_bind_text(&q, 2, row->url);
    sql_bind_int(&q, 3, row->failures);
    sql_bind_int(&q, 4, row->lost);
    sql_bind_int(&q, 5, row->due_at);
    sql_bind_int(&q, 6, row->begun_at);
    sql_bind_text(&q, 7, row->problem);
    sql_bind_text(&q, 8, row->detail);
    sql_bind_int(&q, 9, lease_until);
    sql_bind_int(&q, 10, now_s);
    sql_bind_text(&q, 11, row->account);
    sql_bind_int(&q, 12, row->id);
    sql_bind_int(&q, 13, row->fence);
    sql_bind_text(&q, 14, row->replaces);
    sql_bind_int(&q, 15, row->paid);
    enum err e = sql_end(&q, &changed, info);
    if (e == ERR_OK && changed == 0)
        e = err_set(info, ERR_ILLEGAL, "order %lld is no longer ours", (long long)row->id);
    return e;
}

enum err order_release_all(struct sql *db, const char *node, struct err_info *info)
{
    struct sql_query q;
    /* without a name: by a program that knew of one node only */
    sql_begin(
        &q, db,
        "UPDATE cert_order SET lease_until=0, wake_at=due_at WHERE lease_until<>0 AND " ORDER_OPEN
        " AND (lease_by=$1 OR lease_by IS NULL OR $1 IS NULL)");
    sql_bind_text(&q, 1, node);
    return sql_end(&q, NULL, info);
}

enum err order_clock_back(struct sql *db, int64_t now_s, int64_t lease_max, struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db,
              "UPDATE cert_order SET due_at=$1, updated_at=$1, wake_at="
              "CASE WHEN lease_until>$2 THEN $2 WHEN lease_until>0 THEN lease_until ELSE $1 END,"
              " lease_until=CASE WHEN lease_until>$2 THEN $2 ELSE lease_until END"
              " WHERE updated_at>$1 AND " ORDER_OPEN);
    sql_bind_int(&q, 1, now_s);
    sql_bind_int(&q, 2, lease_max);
    return sql_end(&q, NULL, info);
}
