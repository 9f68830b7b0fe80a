#include "provisiond/store/queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "provisiond/store/current.h"
#include "provisiond/store/ledger.h"

#define US 1000000
#define WAKE_MAX 1024 /* orders that come back from their wait in one claim */

/* --- placing --- */

enum err queue_place(struct sql *db, const struct order_row *row,
                     const struct schedule_policy *policy, int64_t now_s, struct queue_place *out,
                     struct err_info *info)
{
    struct schedule_cert cert = { .exists = false };
    struct current_row now_has = { .order_id = 0 };
    const struct renewal *r = &now_has.renewal;
    enum err e = current_get(db, row->device_id, row->zone, &now_has, NULL);
    if (e != ERR_OK && e != ERR_NOTFOUND)
        return err_set(info, e, "the device's present certificate cannot be read");
    if (e == ERR_OK)
        cert = (struct schedule_cert){ .exists = true,
                                       .same_issuer = strcmp(now_has.issuer, row->issuer) == 0,
                                       .has_ari_id = now_has.ari_id[0] != 0,
                                       .not_before = r->not_before,
                                       .not_after = r->not_after,
                                       .window_start = r->window_start,
                                       .window_end = r->window_end };
    *out = (struct queue_place){ .replaces_until = cert.not_after };
    schedule_place(&out->schedule, &cert, policy, now_s);
    if (out->schedule.replaces) {
        (void)snprintf(out->replaces, sizeof out->replaces, "%s", now_has.ari_id);
        (void)snprintf(out->replaces_account, sizeof out->replaces_account, "%s", now_has.account);
    }
    return ERR_OK;
}

/* --- claiming --- */

/* The first of those who wait in one lane of one zone. */
struct head {
    int64_t id, deadline_at, exempt_from, exempt_until;
    char device_id[DEVID_LEN + 1];
    struct queue_issuer *issuer;
    const char *zone;
    bool pays, blocked;
};

struct claim {
    struct sql *db;
    int64_t now_s, now_us;
    const struct order_lease *lease;
    size_t left; /* orders that may still be claimed */
    void (*fn)(void *arg, const struct order_row *row);
    void *arg;
    int64_t next_at;
    struct err_info *info;
    struct head heads[QUEUE_CLAIM_MAX];
    size_t n_heads;
};

static void foresee(struct claim *c, int64_t at_us)
{
    int64_t at = (at_us + US - 1) / US;
    if (c->next_at == 0 || at < c->next_at)
        c->next_at = at;
}

static enum err wake(struct claim *c)
{
    struct sql_query q;
    sql_begin(
        &q, c->db,
        "UPDATE cert_order SET wake_at=0 WHERE id IN (SELECT id FROM cert_order WHERE " ORDER_OPEN
        " AND wake_at>0 AND wake_at<=$1 ORDER BY wake_at LIMIT $2)");
    sql_bind_int(&q, 1, c->now_s);
    sql_bind_int(&q, 2, WAKE_MAX);
    enum err e = sql_end(&q, NULL, c->info);
    if (e != ERR_OK)
        return e;
    sql_begin(&q, c->db,
              "SELECT wake_at FROM cert_order WHERE " ORDER_OPEN
              " AND wake_at>0 ORDER BY wake_at LIMIT 1");
    while (sql_row(&q))
        foresee(c, sql_int(&q, 0) * US);
    return sql_end(&q, NULL, c->info);
}

/* Takes the lease of the order. ERR_NOTFOUND when another node was first. */
static enum err lease(struct claim *c, int64_t id, const char *text, int paid)
{
    struct sql_query q;
    struct order_row row;
    sql_begin(&q, c->db, text);
    sql_bind_int(&q, 1, c->lease->until);
    sql_bind_int(&q, 2, paid);
    sql_bind_int(&q, 3, c->now_s);
    sql_bind_int(&q, 4, id);
    sql_bind_text(&q, 5, c->lease->node);
    sql_bind_int(&q, 6, c->lease->claim);
    enum err e = order_fetch(&q, &row, NULL);
    if (e != ERR_OK)
        return e == ERR_NOTFOUND ? e : err_set(c->info, e, "an order cannot be claimed");
    c->left--;
    c->fn(c->arg, &row);
    return ERR_OK;
}

/* Orders under way whose holder is gone, or whose wait in the middle is over: paid for already. */
static enum err resume(struct claim *c, struct queue_issuer *is)
{
    int64_t ids[QUEUE_CLAIM_MAX];
    size_t n = 0;
    struct sql_query q;
    enum err e;
    int64_t max = is->room < (int64_t)c->left ? is->room : (int64_t)c->left;
    if (max <= 0)
        return ERR_OK;
    sql_begin(&q, c->db,
              "SELECT id FROM cert_order WHERE issuer=$1 AND wake_at=0"
              " AND state NOT IN ('queued', 'valid', 'invalid', 'canceled')"
              " ORDER BY due_at LIMIT $2" SQL_SKIP_LOCKED);
    sql_bind_text(&q, 1, is->name);
    sql_bind_int(&q, 2, max);
    while (sql_row(&q) && n < QUEUE_CLAIM_MAX)
        ids[n++] = sql_int(&q, 0);
    e = sql_end(&q, NULL, c->info);
    for (size_t i = 0; i < n && e == ERR_OK; i++) {
        e = lease(c, ids[i],
                  "UPDATE cert_order SET lease_until=$1, wake_at=$1, paid=paid+$2, updated_at=$3,"
                  " fence=fence+1, lease_by=$5, claim=$6 WHERE id=$4 AND wake_at=0"
                  " AND state NOT IN ('queued', 'valid', 'invalid', 'canceled')"
                  " RETURNING " ORDER_COLUMNS,
                  0);
        if (e == ERR_OK)
            is->room--;
        else if (e == ERR_NOTFOUND)
            e = ERR_OK;
    }
    return e;
}

/* Microseconds until the bucket lets one more through. */
static enum err bucket_wait(struct claim *c, const struct queue_issuer *is, enum bucket_kind kind,
                            const char *name, int64_t reserve, int64_t *wait_us)
{
    struct ledger_key key = { is->name, kind, name };
    int64_t tat_us = 0;
    enum err e = ledger_get(c->db, &key, &tat_us, c->info);
    *wait_us = bucket_wait_us(tat_us, is->limit[kind], reserve, c->now_us);
    return e;
}

static int64_t reserve_of(enum lane lane, struct bucket_limit limit)
{
    return lane == LANE_RENEWAL ? bucket_reserve(limit) : 0;
}

/* Whether the limits that all in this lane share let anything through now. */
static enum err is_open(struct claim *c, const struct queue_issuer *is, const char *zone,
                        enum lane lane, bool pays, bool *open)
{
    static const enum bucket_kind SHARED[] = { BUCKET_ALL, BUCKET_ORDERS, BUCKET_DOMAIN };
    int64_t longest_us = 0;
    for (size_t i = 0; i < (pays ? ARRAY_LEN(SHARED) : 1); i++) {
        enum bucket_kind kind = SHARED[i];
        int64_t wait_us;
        enum err e = bucket_wait(c, is, kind, kind == BUCKET_DOMAIN ? zone : "",
                                 reserve_of(lane, is->limit[kind]), &wait_us);
        if (e != ERR_OK)
            return e;
        longest_us = wait_us > longest_us ? wait_us : longest_us; /* the farthest counts */
    }
    *open = longest_us == 0;
    if (!*open)
        foresee(c, c->now_us + longest_us);
    return ERR_OK;
}

static enum err add_heads(struct claim *c, struct queue_issuer *is, const char *zone,
                          enum lane lane, bool pays)
{
    struct sql_query q;
    size_t first = c->n_heads;
    int64_t max = is->room < (int64_t)c->left ? is->room : (int64_t)c->left;
    if (max <= 0)
        return ERR_OK;
    sql_begin(&q, c->db, QUEUE_SELECT_HEAD SQL_SKIP_LOCKED);
    sql_bind_text(&q, 1, is->name);
    sql_bind_text(&q, 2, zone);
    sql_bind_int(&q, 3, pays);
    sql_bind_int(&q, 4, lane);
    sql_bind_int(&q, 5, max);
    while (sql_row(&q) && c->n_heads < QUEUE_CLAIM_MAX) {
        struct head *h = &c->heads[c->n_heads++];
        *h = (struct head){ .id = sql_int(&q, 0),
                            .deadline_at = sql_int(&q, 1),
                            .exempt_from = sql_int(&q, 2),
                            .exempt_until = sql_int(&q, 3),
                            .issuer = is,
                            .zone = zone,
                            .pays = pays };
        sql_copy(&q, 4, h->device_id, sizeof h->device_id);
    }
    enum err e = sql_end(&q, NULL, c->info);
    bool open = true;
    if (e == ERR_OK && c->n_heads > first)
        e = is_open(c, is, zone, lane, pays, &open);
    if (!open)
        c->n_heads = first;
    return e;
}

/* The limits of this name alone, whichever is open later: *wait_us, 0 for now. */
static enum err own_wait(struct claim *c, const struct head *h, int64_t *wait_us,
                         enum bucket_kind *which)
{
    struct sql_query q;
    *wait_us = 0;
    sql_begin(&q, c->db,
              "SELECT kind, tat_us FROM bucket WHERE issuer=$1 AND kind IN ($2, $3) AND name=$4");
    sql_bind_text(&q, 1, h->issuer->name);
    sql_bind_int(&q, 2, BUCKET_SET);
    sql_bind_int(&q, 3, BUCKET_FAILURES);
    sql_bind_text(&q, 4, h->device_id);
    while (sql_row(&q)) {
        enum bucket_kind kind = sql_int(&q, 0) == BUCKET_SET ? BUCKET_SET : BUCKET_FAILURES;
        int64_t us = bucket_wait_us(sql_int(&q, 1), h->issuer->limit[kind], 0, c->now_us);
        if (us > *wait_us) {
            *wait_us = us;
            *which = kind;
        }
    }
    return sql_end(&q, NULL, c->info);
}

/* If one of them is used up, only this order waits for it. */
static enum err own_limits(struct claim *c, const struct head *h, bool *open)
{
    int64_t longest_us;
    enum bucket_kind which = BUCKET_SET;
    enum err e = own_wait(c, h, &longest_us, &which);
    if (e != ERR_OK)
        return e;
    *open = longest_us == 0;
    if (*open)
        return ERR_OK;
    int64_t at = (c->now_us + longest_us + US - 1) / US;
    struct sql_query q;
    foresee(c, at * US);
    sql_begin(&q, c->db,
              "UPDATE cert_order SET wake_at=$1, due_at=$1, problem='rate-limited', detail=$2,"
              " updated_at=$3 WHERE id=$4 AND state='queued'");
    sql_bind_int(&q, 1, at);
    sql_bind_text(&q, 2,
                  which == BUCKET_SET ? "the CA's limit for certificates with the same names"
                                      : "the CA's limit for failed validations of this name");
    sql_bind_int(&q, 3, c->now_s);
    sql_bind_int(&q, 4, h->id);
    return sql_end(&q, NULL, c->info);
}

static const char *bucket_name(const char *zone, const char *device_id, enum bucket_kind kind)
{
    switch (kind) {
    case BUCKET_DOMAIN:
        return zone;
    case BUCKET_SET:
    case BUCKET_FAILURES:
        return device_id;
    default:
        return "";
    }
}

static enum err give_back(struct sql *db, const char *issuer, const char *zone,
                          const char *device_id, const struct bucket_limit *limits, int paid,
                          struct err_info *info)
{
    enum err e = ERR_OK;
    for (int k = 0; k < BUCKET_KIND_N && e == ERR_OK; k++) {
        enum bucket_kind kind = (enum bucket_kind)k;
        struct ledger_key key = { issuer, kind, bucket_name(zone, device_id, kind) };
        if ((paid & QUEUE_PAID(k)) != 0)
            e = ledger_refund(db, &key, limits[k], info);
    }
    return e;
}

/* Pays for the order: all of it, or nothing and *paid is 0. */
static enum err pay(struct claim *c, const struct head *h, enum lane lane, bool exempt, int *paid)
{
    static const enum bucket_kind KINDS[] = { BUCKET_ORDERS, BUCKET_DOMAIN, BUCKET_SET };
    *paid = 0;
    for (size_t i = h->pays ? 0 : 2; i < ARRAY_LEN(KINDS) && !exempt; i++) {
        enum bucket_kind kind = KINDS[i];
        struct bucket_limit limit = h->issuer->limit[kind];
        struct ledger_key key = { h->issuer->name, kind, bucket_name(h->zone, h->device_id, kind) };
        bool spent = false;
        enum err e =
            ledger_spend(c->db, &key, limit, reserve_of(lane, limit), c->now_us, &spent, c->info);
        if (e == ERR_OK && !spent) {
            e = give_back(c->db, h->issuer->name, h->zone, h->device_id, h->issuer->limit, *paid,
                          c->info);
            *paid = -1;
        }
        if (e != ERR_OK || !spent)
            return e;
        if (limit.count > 0)
            *paid |= QUEUE_PAID(kind);
    }
    return ERR_OK;
}

static enum err begin(struct claim *c, struct head *h, enum lane lane)
{
    bool open = true;
    int paid;
    bool exempt = c->now_s >= h->exempt_from && c->now_s < h->exempt_until;
    enum err e = exempt ? ERR_OK : own_limits(c, h, &open);
    if (e != ERR_OK || !open)
        return e;
    e = pay(c, h, lane, exempt, &paid);
    if (e != ERR_OK)
        return e;
    if (paid < 0) { /* what is left went to those before it */
        h->blocked = true;
        return is_open(c, h->issuer, h->zone, lane, h->pays, &open);
    }
    e = lease(c, h->id,
              "UPDATE cert_order SET state='ordering', lease_until=$1, wake_at=$1, paid=$2,"
              " begun_at=$3, updated_at=$3, fence=fence+1, lease_by=$5, claim=$6"
              " WHERE id=$4 AND state='queued' AND wake_at=0 RETURNING " ORDER_COLUMNS,
              paid);
    if (e == ERR_NOTFOUND)
        return give_back(c->db, h->issuer->name, h->zone, h->device_id, h->issuer->limit, paid,
                         c->info);
    if (e == ERR_OK)
        h->issuer->room--;
    return e;
}

static int by_deadline(const void *a, const void *b)
{
    const struct head *x = a, *y = b;
    if (x->deadline_at != y->deadline_at)
        return x->deadline_at < y->deadline_at ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Whether one before it in the same lane of the same zone met an empty bucket. */
static bool is_behind_blocked(const struct claim *c, size_t at)
{
    const struct head *h = &c->heads[at];
    for (size_t i = 0; i < at; i++) {
        const struct head *b = &c->heads[i];
        if (b->blocked && b->issuer == h->issuer && b->zone == h->zone && b->pays == h->pays)
            return true;
    }
    return false;
}

static enum err claim_lane(struct claim *c, struct queue_issuer *issuers, size_t n, enum lane lane)
{
    enum err e = ERR_OK;
    c->n_heads = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t z = 0; z < issuers[i].n_zones && e == ERR_OK; z++) {
            e = add_heads(c, &issuers[i], issuers[i].zones[z], lane, false);
            if (e == ERR_OK)
                e = add_heads(c, &issuers[i], issuers[i].zones[z], lane, true);
        }
    }
    qsort(c->heads, c->n_heads, sizeof c->heads[0], by_deadline);
    for (size_t i = 0; i < c->n_heads && c->left > 0 && e == ERR_OK; i++) {
        if (c->heads[i].issuer->room > 0 && !is_behind_blocked(c, i))
            e = begin(c, &c->heads[i], lane);
    }
    return e;
}

enum err queue_claim(struct sql *db, struct queue_issuer *issuers, size_t n_issuers, int64_t now_s,
                     const struct order_lease *lease, size_t max,
                     void (*fn)(void *arg, const struct order_row *row), void *arg,
                     int64_t *next_at, struct err_info *info)
{
    struct claim c = { .db = db,
                       .now_s = now_s,
                       .now_us = now_s * US,
                       .lease = lease,
                       .left = max < QUEUE_CLAIM_MAX ? max : QUEUE_CLAIM_MAX,
                       .fn = fn,
                       .arg = arg,
                       .info = info };
    enum err e = wake(&c);
    for (size_t i = 0; i < n_issuers && e == ERR_OK; i++)
        e = resume(&c, &issuers[i]);
    for (int lane = 0; lane < LANE_N && c.left > 0 && e == ERR_OK; lane++)
        e = claim_lane(&c, issuers, n_issuers, (enum lane)lane);
    if (e == ERR_OK)
        *next_at = c.left == 0 ? now_s : c.next_at;
    return e;
}

enum err queue_claimed(struct sql *db, const struct order_lease *lease, size_t max,
                       void (*fn)(void *arg, const struct order_row *row), void *arg,
                       struct err_info *info)
{
    int64_t ids[QUEUE_CLAIM_MAX];
    size_t n = 0;
    struct sql_query q;
    sql_begin(&q, db,
              "SELECT id FROM cert_order WHERE " ORDER_OPEN
              " AND wake_at>0 AND lease_until<>0 AND lease_by=$1 AND claim=$2 LIMIT $3");
    sql_bind_text(&q, 1, lease->node);
    sql_bind_int(&q, 2, lease->claim);
    sql_bind_int(&q, 3, (int64_t)(max < QUEUE_CLAIM_MAX ? max : QUEUE_CLAIM_MAX));
    while (sql_row(&q) && n < QUEUE_CLAIM_MAX)
        ids[n++] = sql_int(&q, 0);
    enum err e = sql_end(&q, NULL, info);
    for (size_t i = 0; i < n && e == ERR_OK; i++) {
        struct order_row row;
        e = order_get(db, ids[i], &row, info);
        if (e == ERR_OK)
            fn(arg, &row);
    }
    return e;
}

/* --- what the limits have left --- */

enum err queue_refund(struct sql *db, const struct order_row *row,
                      const struct bucket_limit *limits, int kinds, struct err_info *info)
{
    return give_back(db, row->issuer, row->zone, row->device_id, limits, kinds, info);
}

static struct ledger_key key_of(const struct order_row *row, enum bucket_kind kind)
{
    return (struct ledger_key){ row->issuer, kind, bucket_name(row->zone, row->device_id, kind) };
}

enum err queue_count_failure(struct sql *db, const struct order_row *row,
                             const struct bucket_limit *limits, int64_t now_s,
                             struct err_info *info)
{
    struct ledger_key key = key_of(row, BUCKET_FAILURES);
    return ledger_count(db, &key, limits[BUCKET_FAILURES], now_s * US, info);
}

enum err queue_park(struct sql *db, const struct order_row *row, enum bucket_kind kind,
                    const struct bucket_limit *limits, int64_t until_s, struct err_info *info)
{
    struct ledger_key key = key_of(row, kind);
    return ledger_park(db, &key, limits[kind], until_s * US, info);
}

/* --- failover --- */

#define OVERDUE                                                                                    \
    "(SELECT id FROM cert_order WHERE issuer=$1 AND zone=$2 AND state='queued' AND failover_at>0"  \
    " AND failover_at<=$3 ORDER BY failover_at LIMIT $4) AND state='queued'"

static enum err promote(struct sql *db, const char *issuer, const char *zone, int64_t now_s,
                        int64_t max, int64_t *moved, struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db,
              "UPDATE cert_order SET lane=0, failover_at=0, updated_at=$3 WHERE id IN " OVERDUE);
    sql_bind_text(&q, 1, issuer);
    sql_bind_text(&q, 2, zone);
    sql_bind_int(&q, 3, now_s);
    sql_bind_int(&q, 4, max);
    return sql_end(&q, moved, info);
}

enum err queue_failover(struct sql *db, const char *from, const char *to, const char *zone,
                        int64_t now_s, int64_t grace_s, int64_t max, int64_t *moved,
                        struct err_info *info)
{
    struct sql_query q;
    if (to == NULL)
        return promote(db, from, zone, now_s, max, moved, info);
    sql_begin(&q, db,
              "UPDATE cert_order SET lane=0, failover_at=$5, issuer=$6, pays=1, paid=0,"
              " replaces='', replaces_account='', exempt_from=0, exempt_until=0, failures=0,"
              " wake_at=0, due_at=$3, updated_at=$3, fence=fence+1 WHERE id IN " OVERDUE);
    sql_bind_text(&q, 1, from);
    sql_bind_text(&q, 2, zone);
    sql_bind_int(&q, 3, now_s);
    sql_bind_int(&q, 4, max);
    sql_bind_int(&q, 5, now_s + grace_s);
    sql_bind_text(&q, 6, to);
    return sql_end(&q, moved, info);
}

enum err queue_failover_new(struct sql *db, const char *from, const char *to, const char *zone,
                            int64_t asked_before, int64_t max, int64_t *moved,
                            struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db,
              "UPDATE cert_order SET issuer=$2, paid=0, failures=0, fence=fence+1"
              " WHERE id IN (SELECT id FROM cert_order WHERE issuer=$1 AND zone=$3 AND pays=1"
              " AND lane=2 AND state='queued' AND wake_at=0 AND deadline_at<=$4"
              " ORDER BY deadline_at LIMIT $5) AND state='queued'");
    sql_bind_text(&q, 1, from);
    sql_bind_text(&q, 2, to);
    sql_bind_text(&q, 3, zone);
    sql_bind_int(&q, 4, asked_before);
    sql_bind_int(&q, 5, max);
    return sql_end(&q, moved, info);
}

static enum err list_strangers(struct sql *db, const char *zone, const char *const *issuers,
                               size_t n_issuers, char (*out)[64], size_t max, size_t *n,
                               struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db, "SELECT DISTINCT issuer FROM cert_order WHERE zone=$1 AND " ORDER_OPEN);
    sql_bind_text(&q, 1, zone);
    *n = 0;
    while (sql_row(&q)) {
        bool known = false;
        for (size_t i = 0; i < n_issuers && !known; i++)
            known = strcmp(sql_text(&q, 0), issuers[i]) == 0;
        if (!known && *n < max)
            sql_copy(&q, 0, out[(*n)++], sizeof out[0]);
    }
    return sql_end(&q, NULL, info);
}

enum err queue_adopt(struct sql *db, const char *zone, const char *const *issuers, size_t n_issuers,
                     int64_t now_s, int64_t *moved, struct err_info *info)
{
    char strangers[QUEUE_ZONES_MAX][64];
    size_t n = 0;
    *moved = 0;
    enum err e = list_strangers(db, zone, issuers, n_issuers, strangers, QUEUE_ZONES_MAX, &n, info);
    for (size_t i = 0; i < n && e == ERR_OK; i++) {
        struct sql_query q;
        int64_t changed = 0;
        sql_begin(&q, db,
                  "UPDATE cert_order SET issuer=$1, state='queued', url='', account='', pays=1,"
                  " paid=0, replaces='', replaces_account='', exempt_from=0, exempt_until=0,"
                  " failures=0, wake_at=0, lease_until=0, due_at=$2, updated_at=$2, fence=fence+1"
                  " WHERE zone=$3 AND issuer=$4 AND lease_until<=$2 AND " ORDER_OPEN);
        sql_bind_text(&q, 1, issuers[0]);
        sql_bind_int(&q, 2, now_s);
        sql_bind_text(&q, 3, zone);
        sql_bind_text(&q, 4, strangers[i]);
        e = sql_end(&q, &changed, info);
        *moved += changed;
    }
    return e;
}
