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
    int bound;         /* the one account that it may go to; -1: any */
    unsigned accounts; /* bits of those that let it through, as far as is known */
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
static enum err lease(struct claim *c, int64_t id, const char *text, int paid, int account)
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
    sql_bind_int(&q, 7, account);
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
              " AND state<>'queued' AND " ORDER_OPEN " ORDER BY due_at LIMIT $2" SQL_SKIP_LOCKED);
    sql_bind_text(&q, 1, is->name);
    sql_bind_int(&q, 2, max);
    while (sql_row(&q) && n < QUEUE_CLAIM_MAX)
        ids[n++] = sql_int(&q, 0);
    e = sql_end(&q, NULL, c->info);
    for (size_t i = 0; i < n && e == ERR_OK; i++) {
        e = lease(c, ids[i],
                  "UPDATE cert_order SET lease_until=$1, wake_at=$1, paid=paid+$2, updated_at=$3,"
                  " account_no=account_no+$7, fence=fence+1, lease_by=$5, claim=$6"
                  " WHERE id=$4 AND wake_at=0"
                  " AND state<>'queued' AND " ORDER_OPEN " RETURNING " ORDER_COLUMNS,
                  0, 0);
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

static size_t n_accounts(const struct queue_issuer *is)
{
    return is->n_accounts > 0 ? is->n_accounts : 1;
}

/* How long account `k` lets nothing of this lane through. */
static enum err account_wait(struct claim *c, const struct queue_issuer *is, size_t k,
                             enum lane lane, bool pays, int64_t *wait_us)
{
    static const enum bucket_kind KINDS[] = { BUCKET_ALL, BUCKET_ORDERS };
    enum err e = ERR_OK;
    *wait_us = 0;
    for (size_t i = 0; i < (pays ? ARRAY_LEN(KINDS) : 1) && e == ERR_OK; i++) {
        int64_t us = 0;
        e = bucket_wait(c, is, KINDS[i], ledger_account_name(k),
                        reserve_of(lane, is->limit[KINDS[i]]), &us);
        *wait_us = us > *wait_us ? us : *wait_us; /* the farthest counts */
    }
    return e;
}

/* Bits of the accounts that let something of this lane through now, as far as its orders share
 * limits; 0: none, and it is foreseen when. */
static enum err open_accounts(struct claim *c, const struct queue_issuer *is, const char *zone,
                              enum lane lane, bool pays, unsigned *open)
{
    int64_t domain_us = 0, soonest_us = INT64_MAX;
    enum err e = ERR_OK;
    *open = 0;
    if (pays)
        e = bucket_wait(c, is, BUCKET_DOMAIN, zone, reserve_of(lane, is->limit[BUCKET_DOMAIN]),
                        &domain_us);
    for (size_t k = 0; k < n_accounts(is) && e == ERR_OK; k++) {
        int64_t us = 0;
        e = account_wait(c, is, k, lane, pays, &us);
        soonest_us = us < soonest_us ? us : soonest_us;
        if (us == 0 && domain_us == 0)
            *open |= 1U << k;
    }
    if (e == ERR_OK && *open == 0)
        foresee(c, c->now_us + (domain_us > soonest_us ? domain_us : soonest_us));
    return e;
}

/* The account that a renewal has to go to, because its certificate is named there; -1: any. */
static int bound_to(const struct queue_issuer *is, const char *account)
{
    for (size_t k = 0; account[0] != 0 && k < n_accounts(is); k++) {
        if (is->account[k] != NULL && strcmp(is->account[k], account) == 0)
            return (int)k;
    }
    return -1;
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
                            .pays = pays,
                            .bound = bound_to(is, sql_text(&q, 5)) };
        sql_copy(&q, 4, h->device_id, sizeof h->device_id);
    }
    enum err e = sql_end(&q, NULL, c->info);
    unsigned open = 0;
    if (e == ERR_OK && c->n_heads > first)
        e = open_accounts(c, is, zone, lane, pays, &open);
    for (size_t i = first; i < c->n_heads; i++)
        c->heads[i].accounts = open;
    if (open == 0)
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

/* Takes one order out of its lane for as long as only it has to wait. */
static enum err wait_alone(struct claim *c, const struct head *h, int64_t wait_us,
                           const char *detail)
{
    int64_t at = (c->now_us + wait_us + US - 1) / US;
    struct sql_query q;
    foresee(c, at * US);
    sql_begin(&q, c->db,
              "UPDATE cert_order SET wake_at=$1, due_at=$1, problem='rate-limited', detail=$2,"
              " updated_at=$3 WHERE id=$4 AND state='queued'");
    sql_bind_int(&q, 1, at);
    sql_bind_text(&q, 2, detail);
    sql_bind_int(&q, 3, c->now_s);
    sql_bind_int(&q, 4, h->id);
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
    return wait_alone(c, h, longest_us,
                      which == BUCKET_SET ? "the CA's limit for certificates with the same names"
                                          : "the CA's limit for failed validations of this name");
}

static struct ledger_key key_for(const char *issuer, enum bucket_kind kind, const char *zone,
                                 const char *device_id, size_t account)
{
    struct ledger_key key = { issuer, kind, ledger_account_name(account) };
    if (kind == BUCKET_DOMAIN)
        key.name = zone;
    else if (kind == BUCKET_SET || kind == BUCKET_FAILURES)
        key.name = device_id;
    return key;
}

static struct ledger_key key_of(const struct order_row *row, enum bucket_kind kind)
{
    return key_for(row->issuer, kind, row->zone, row->device_id, (size_t)row->account_no);
}

static enum err give_back(struct claim *c, const struct head *h, size_t account, int paid)
{
    enum err e = ERR_OK;
    for (int k = 0; k < BUCKET_KIND_N && e == ERR_OK; k++) {
        struct ledger_key key =
            key_for(h->issuer->name, (enum bucket_kind)k, h->zone, h->device_id, account);
        if ((paid & QUEUE_PAID(k)) != 0)
            e = ledger_refund(c->db, &key, h->issuer->limit[k], c->info);
    }
    return e;
}

/* Pays for the order at one account: all of it, or nothing, and *refused_by is what was empty. */
static enum err pay(struct claim *c, const struct head *h, enum lane lane, size_t account,
                    int *paid, enum bucket_kind *refused_by)
{
    static const enum bucket_kind KINDS[] = { BUCKET_ORDERS, BUCKET_DOMAIN, BUCKET_SET };
    *paid = 0;
    *refused_by = BUCKET_KIND_N;
    for (size_t i = h->pays ? 0 : 2; i < ARRAY_LEN(KINDS); i++) {
        enum bucket_kind kind = KINDS[i];
        struct bucket_limit limit = h->issuer->limit[kind];
        struct ledger_key key = key_for(h->issuer->name, kind, h->zone, h->device_id, account);
        bool spent = false;
        enum err e =
            ledger_spend(c->db, &key, limit, reserve_of(lane, limit), c->now_us, &spent, c->info);
        if (e == ERR_OK && !spent) {
            *refused_by = kind;
            e = give_back(c, h, account, *paid);
        }
        if (e != ERR_OK || !spent)
            return e;
        if (limit.count > 0)
            *paid |= QUEUE_PAID(kind);
    }
    return ERR_OK;
}

/* The account to try next: its own, or the one that most of the device's orders go to, or any other
 * that is open; -1 when none is. */
static int pick_account(const struct head *h)
{
    size_t n = n_accounts(h->issuer), first = 0;
    if (h->bound >= 0)
        return (h->accounts >> h->bound & 1) != 0 ? h->bound : -1;
    for (const char *p = h->device_id; *p != 0; p++)
        first = first * 31 + (unsigned char)*p;
    for (size_t i = 0; i < n; i++) {
        size_t k = (first % n + i) % n;
        if ((h->accounts >> k & 1) != 0)
            return (int)k;
    }
    return -1;
}

static enum err take_turn(struct claim *c, struct head *h, size_t account, int paid)
{
    enum err e = lease(c, h->id,
                       "UPDATE cert_order SET state='ordering', lease_until=$1, wake_at=$1,"
                       " paid=$2, account_no=$7, begun_at=$3, updated_at=$3, fence=fence+1,"
                       " lease_by=$5, claim=$6"
                       " WHERE id=$4 AND state='queued' AND wake_at=0 RETURNING " ORDER_COLUMNS,
                       paid, (int)account);
    if (e == ERR_NOTFOUND)
        return give_back(c, h, account, paid);
    if (e == ERR_OK)
        h->issuer->room--;
    return e;
}

/* No account lets it through: those behind it wait as well, unless it alone is bound to one. */
static enum err no_account(struct claim *c, struct head *h, enum lane lane)
{
    unsigned open = 0;
    enum err e = open_accounts(c, h->issuer, h->zone, lane, h->pays, &open);
    if (e != ERR_OK || open == 0 || h->bound < 0) {
        h->blocked = true;
        return e;
    }
    int64_t wait_us = 0;
    e = account_wait(c, h->issuer, (size_t)h->bound, lane, h->pays, &wait_us);
    if (e != ERR_OK || wait_us == 0)
        return e;
    return wait_alone(c, h, wait_us, "the CA's limit for the account that has to renew it");
}

static enum err begin(struct claim *c, struct head *h, enum lane lane)
{
    bool open = true;
    bool exempt = c->now_s >= h->exempt_from && c->now_s < h->exempt_until;
    enum err e = exempt ? ERR_OK : own_limits(c, h, &open);
    while (e == ERR_OK && open) {
        int paid = 0, account = pick_account(h);
        enum bucket_kind refused_by = BUCKET_KIND_N;
        if (account < 0)
            return no_account(c, h, lane);
        if (!exempt)
            e = pay(c, h, lane, (size_t)account, &paid, &refused_by);
        if (e == ERR_OK && refused_by == BUCKET_KIND_N)
            return take_turn(c, h, (size_t)account, paid);
        h->accounts &= ~(1U << account);
        if (refused_by != BUCKET_ORDERS)
            h->accounts = 0; /* what is left of it went to those before */
    }
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
    enum err e = ERR_OK;
    for (int k = 0; k < BUCKET_KIND_N && e == ERR_OK; k++) {
        struct ledger_key key = key_of(row, (enum bucket_kind)k);
        if ((kinds & QUEUE_PAID(k)) != 0)
            e = ledger_refund(db, &key, limits[k], info);
    }
    return e;
}

enum err queue_charge(struct sql *db, const struct order_row *row,
                      const struct bucket_limit *limits, int kinds, int64_t now_s,
                      struct err_info *info)
{
    enum err e = ERR_OK;
    for (int k = 0; k < BUCKET_KIND_N && e == ERR_OK; k++) {
        struct ledger_key key = key_of(row, (enum bucket_kind)k);
        if ((kinds & QUEUE_PAID(k)) != 0)
            e = ledger_count(db, &key, limits[k], now_s * US, info);
    }
    return e;
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

enum err queue_reopen(struct sql *db, const struct ledger_key *key, const char *zone,
                      const char *device_id, int64_t now_s, bool *was_there, int64_t *woken,
                      struct err_info *info)
{
    struct sql_query q;
    enum err e = ledger_reopen(db, key, was_there, info);
    if (e != ERR_OK)
        return e;
    /* by the CA's word, and by ours */
    sql_begin(&q, db,
              "UPDATE cert_order SET wake_at=0, due_at=$1, updated_at=$1 WHERE issuer=$2"
              " AND state='queued' AND wake_at>0 AND problem IN ('rateLimited', 'rate-limited')"
              " AND (zone=$3 OR $3='') AND (device_id=$4 OR $4='')");
    sql_bind_int(&q, 1, now_s);
    sql_bind_text(&q, 2, key->issuer);
    sql_bind_text(&q, 3, zone);
    sql_bind_text(&q, 4, device_id);
    return sql_end(&q, woken, info);
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
