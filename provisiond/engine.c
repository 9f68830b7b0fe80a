#include "provisiond/engine.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "provisiond/claim.h"
#include "provisiond/core/backoff.h"
#include "provisiond/core/csr.h"
#include "provisiond/store/challenge_table.h"
#include "provisiond/store/current.h"
#include "provisiond/store/ledger.h"
#include "provisiond/store/node.h"
#include "provisiond/store/queue.h"
#include "provisiond/sweep.h"
#include "provisiond/task.h"
#include "provisiond/windows.h"

#define IDLE_S 10          /* between two looks when nothing is known to be due */
#define NODE_LOOK_MS 10000 /* between two looks for dead nodes */
#define STORE_RETRY_S 2    /* when the database is away */
#define VALUE_LIFE_S 7200  /* of a challenge value, if everything that removes it fails */
#define KEEP_LIMIT_S 600   /* longer waits give the order back */
#define CLOCK_BACK_S 60    /* a wall clock set back by more makes every order look again */
#define NAP_MS 200         /* before the first second look at something at the CA */
#define UPKEEP_S 30        /* between two looks at what is overdue in the queue */

struct zone_store {
    struct challenge_store *store; /* shared by zones with the same URL; owned by the first */
    bool owned;
    struct sweep *sweep; /* where owned */
};

struct engine {
    struct engine_parts parts;
    struct jobs *challenge_jobs; /* the thread of the challenge stores */
    struct zone_store zones[CONFIG_LIST_MAX];
    struct loop_timer *timer;
    struct windows *windows;
    struct gate gates[CONFIG_LIST_MAX]; /* of config->issuers */
    struct chain_above above[CONFIG_LIST_MAX];
    struct task *tasks;
    size_t n_tasks;
    struct orderstats stats;
    bool claiming, again, stopping;
    int64_t claim; /* number of the present claim, or of the next */
    int64_t nodes_looked_at_ms, store_failed_at_ms, adopted_ms; /* monotonic */
    bool claim_unsure;     /* a claim of that number may have taken an order already */
    int64_t upkeep_ms;     /* monotonic: when it is due */
    int64_t clock_ahead_s; /* of the wall clock over the monotonic one, at the last claim */
    const char *stop_at;   /* state after whose write a test wants a kill -9; NULL otherwise */
    void (*on_stopped)(void *arg);
    void *on_stopped_arg;
    struct job store_last, challenge_last; /* the last jobs of each thread */
};

/* --- tasks --- */

static void task_free(struct task *t)
{
    struct engine *en = t->engine;
    if (t->prev != NULL)
        t->prev->next = t->next;
    else
        en->tasks = t->next;
    if (t->next != NULL)
        t->next->prev = t->prev;
    metric_set(&en->stats.under_way, --en->n_tasks);
    if (t->gate != NULL)
        gate_end(t->gate);
    readback_cancel(t->readback);
    loop_timer_free(t->timer);
    buf_clear(&t->csr);
    free(t->chain);
    free(t);
}

/* The order is nobody's in this process any more: another may be due. */
static void task_end(struct task *t)
{
    struct engine *en = t->engine;
    task_free(t);
    engine_kick(en);
}

static void on_task_timer(void *arg)
{
    struct task *t = arg;
    if (!t->engine->stopping)
        t->resume(t);
}

static struct task *task_new(struct engine *en, const struct order_row *row)
{
    const struct config *c = en->parts.config;
    const struct config_zone *zone = config_zone_find(c, row->zone);
    struct task *t = calloc(1, sizeof *t);
    if (t == NULL || loop_timer_new(&t->timer, en->parts.loop, on_task_timer, t) != ERR_OK) {
        free(t);
        return NULL;
    }
    t->engine = en;
    t->row = *row;
    t->zone = zone;
    for (size_t i = 0; i < c->n_issuers; i++) {
        if (strcmp(c->issuers[i].name, row->issuer) != 0)
            continue;
        t->issuer_no = i;
        t->ca = &c->issuers[i];
        /* a renewal goes to the account of the certificate: only there may it name it */
        t->issuer = issuers_find(en->parts.issuers, i,
                                 row->url[0] != 0 ? row->account : row->replaces_account,
                                 (size_t)row->account_no);
        t->gate = &en->gates[i];
        gate_begin(t->gate, clock_mono_ms());
        t->above = &en->above[i];
    }
    for (const char *p = row->device_id; *p != 0; p++)
        t->seed = t->seed * 31 + (uint32_t)(unsigned char)*p;
    if (zone != NULL) {
        t->challenges = en->zones[zone - c->zones].store;
        (void)snprintf(t->names[0], TASK_NAME_MAX, "*.%s.%s", row->device_id, zone->name);
        (void)snprintf(t->names[1], TASK_NAME_MAX, "%s.%s", row->device_id, zone->name);
        t->n_names = row->bare_name ? 2 : 1;
    }
    t->next = en->tasks;
    if (t->next != NULL)
        t->next->prev = t;
    en->tasks = t;
    metric_set(&en->stats.under_way, ++en->n_tasks);
    t->claimed_ms = t->since_ms = clock_mono_ms();
    return t;
}

void task_count(struct task *t, const struct issuer_reply *r)
{
    uint32_t random;
    enum gate_reply reply = r->verdict == ISSUER_RETRY         ? GATE_AWAY
                            : r->limit == ISSUER_LIMIT_ADDRESS ? GATE_BUSY
                                                               : GATE_OK;
    secret_random(&random, sizeof random);
    gate_note(t->gate, reply, clock_mono_ms(), r->retry_after_s, random);
    orderstats_reply(&t->engine->stats, t->issuer_no, r, clock_mono_ms());
}

struct loop *task_loop(const struct task *t)
{
    return t->engine->parts.loop;
}

void task_sleep(struct task *t, int64_t delay_s, void (*resume)(struct task *t))
{
    t->resume = resume;
    loop_timer_set(t->timer, delay_s * 1000);
}

void task_nap(struct task *t, void (*resume)(struct task *t))
{
    t->resume = resume;
    loop_timer_set(t->timer, NAP_MS);
}

static void changed(struct task *t)
{
    t->engine->parts.on_change(t->engine->parts.arg, t->row.device_id);
}

/* --- writing the row --- */

static enum err store_certificate(struct task *t, struct sql *db, int64_t now_s,
                                  struct err_info *info)
{
    struct current_row now_has = { .order_id = t->row.id,
                                   .renewal = { .not_before = t->cert.not_before,
                                                .not_after = t->cert.not_after } };
    enum err e = certificate_insert(db, &t->row, &t->cert, t->chain, info);
    if (e != ERR_OK)
        return e;
    (void)snprintf(now_has.device_id, sizeof now_has.device_id, "%s", t->row.device_id);
    (void)snprintf(now_has.zone, sizeof now_has.zone, "%s", t->row.zone);
    (void)snprintf(now_has.issuer, sizeof now_has.issuer, "%s", t->row.issuer);
    (void)snprintf(now_has.account, sizeof now_has.account, "%s", t->row.account);
    (void)snprintf(now_has.ari_id, sizeof now_has.ari_id, "%s", t->cert.ari_id);
    uint64_t seed = renewal_seed(t->row.device_id, t->cert.ari_id);
    now_has.sentinel = renewal_is_sentinel(seed);
    renewal_begin(&now_has.renewal, t->has_windows && now_has.ari_id[0] != 0, seed, now_s);
    return current_put(db, &now_has, info);
}

/* What the new state means for the CA's limits, in the transaction of the state. */
static enum err settle_limits(struct task *t, struct sql *db, int64_t now_s, struct err_info *info)
{
    enum err e = ERR_OK;
    if (t->charge != 0)
        e = queue_charge(db, &t->row, t->ca->limit, t->charge, now_s, info);
    if (e == ERR_OK && t->refund != 0)
        e = queue_refund(db, &t->row, t->ca->limit, t->refund, info);
    if (e == ERR_OK && t->failed_validation)
        e = queue_count_failure(db, &t->row, t->ca->limit, now_s, info);
    if (e == ERR_OK && t->park_until > 0)
        e = queue_park(db, &t->row, t->park, t->ca->limit, t->park_until, info);
    return e;
}

static enum err load_csr(struct task *t, struct sql *db, struct err_info *info)
{
    buf_clear(&t->csr); /* the job may be run again */
    buf_init(&t->csr, CSR_MAX);
    return order_csr(db, t->row.id, &t->csr, info);
}

static enum err run_save(struct job *j, void *ctx)
{
    struct task *t = (struct task *)((char *)j - offsetof(struct task, save));
    struct order_row now_there;
    int64_t now = clock_now_s();
    int64_t lease = t->keep ? now + CLAIM_LEASE_S : 0;
    enum err e = ERR_OK;
    if (t->row.state == ORDER_VALID && t->chain != NULL)
        e = store_certificate(t, ctx, now, &j->info);
    if (e == ERR_OK)
        e = settle_limits(t, ctx, now, &j->info);
    if (e == ERR_OK)
        e = order_save(ctx, &t->row, lease, now, &j->info);
    if (e == ERR_OK && t->row.state == ORDER_FINALIZING)
        e = load_csr(t, ctx, &j->info); /* sent next: saves a job */
    if (e != ERR_ILLEGAL)
        return e;
    if (order_get(ctx, t->row.id, &now_there, NULL) == ERR_OK)
        t->gone = order_is_final(now_there.state);
    return ERR_ILLEGAL;
}

static void submit_save(struct task *t)
{
    if (!t->engine->stopping)
        jobs_submit(t->engine->parts.store, &t->save);
}

static void write_row(struct task *t, bool keep, void (*done)(struct job *j, enum err e))
{
    t->keep = keep;
    t->save.run = run_save;
    t->save.done = done;
    submit_save(t);
}

/* --- the CSR --- */

static enum err run_load(struct job *j, void *ctx)
{
    struct task *t = (struct task *)((char *)j - offsetof(struct task, load));
    return load_csr(t, ctx, &j->info);
}

static void on_loaded(struct job *j, enum err e)
{
    struct task *t = (struct task *)((char *)j - offsetof(struct task, load));
    if (t->engine->stopping)
        return;
    if (e == ERR_OK) {
        t->resume(t);
        return;
    }
    log_error("%s", j->info.text);
    task_retry(t, STORE_RETRY_S, task_enter, "store", j->info.text);
}

void task_load_csr(struct task *t, void (*resume)(struct task *t))
{
    if (t->csr.len > 0) {
        resume(t);
        return;
    }
    t->resume = resume;
    t->load.run = run_load;
    t->load.done = on_loaded;
    jobs_submit(t->engine->parts.store, &t->load);
}

/* --- challenge values --- */

static enum err run_challenge(struct job *j, void *ctx)
{
    struct task *t = (struct task *)((char *)j - offsetof(struct task, challenge));
    int64_t now = clock_now_s();
    (void)ctx;
    if (t->remove_values)
        return challenge_remove(t->challenges, t->row.id, INT64_MAX, now, &j->info);
    for (size_t i = 0; i < t->n_authz; i++) {
        if (t->authz[i].status == ISSUER_VALID || t->authz[i].standing)
            continue;
        enum err e = challenge_put(t->challenges, t->zone->name, t->row.device_id, t->row.id,
                                   t->authz[i].txt_value, t->challenge_until, now, &j->info);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

static void resubmit_challenge(struct task *t)
{
    jobs_submit(t->engine->challenge_jobs, &t->challenge);
}

static void on_values_put(struct job *j, enum err e)
{
    struct task *t = (struct task *)((char *)j - offsetof(struct task, challenge));
    if (t->engine->stopping)
        return;
    if (e == ERR_OK) {
        t->values_put = true;
        t->resume(t);
    } else if (e == ERR_LIMIT) { /* other orders' values: they go away by themselves */
        task_move(t, ORDER_EV_LOST, "too-many-challenges", j->info.text);
    } else {
        log_error("%s", j->info.text);
        task_retry(t, STORE_RETRY_S + backoff_step_s((unsigned)t->row.failures + 1, t->seed),
                   task_enter, "challenge-store", j->info.text);
    }
}

/* Whether something is to be published for the CA. */
static bool has_values(const struct task *t)
{
    for (size_t i = 0; i < t->n_authz; i++)
        if (t->authz[i].status != ISSUER_VALID && !t->authz[i].standing)
            return true;
    return false;
}

void task_put_values(struct task *t, void (*resume)(struct task *t))
{
    if (!has_values(t)) {
        t->values_put = true;
        resume(t);
        return;
    }
    if (t->challenges == NULL) {
        task_move(t, ORDER_EV_LOST, "configuration", "the zone has no challenge store");
        return;
    }
    t->resume = resume;
    t->remove_values = false;
    t->challenge_until = clock_now_s() + VALUE_LIFE_S;
    t->challenge.run = run_challenge;
    t->challenge.done = on_values_put;
    resubmit_challenge(t);
}

/* --- moving on --- */

static void settle(struct task *t);

static void retry_remove(struct task *t)
{
    resubmit_challenge(t);
}

static void on_values_removed(struct job *j, enum err e)
{
    struct task *t = (struct task *)((char *)j - offsetof(struct task, challenge));
    if (t->engine->stopping)
        return;
    if (e != ERR_OK) {
        log_error("%s", j->info.text);
        task_sleep(t, STORE_RETRY_S, retry_remove);
        return;
    }
    settle(t);
}

/* Takes the values back where the new state has none, then settles. */
static void leave_challenge(struct task *t)
{
    bool may_live = order_has_challenge(t->old_state) && t->challenges != NULL;
    bool still = order_has_challenge(t->row.state) && !t->gone;
    if (!may_live || still) {
        settle(t);
        return;
    }
    t->remove_values = true;
    t->challenge.run = run_challenge;
    t->challenge.done = on_values_removed;
    resubmit_challenge(t);
}

/* The row is written and the values are right: go on, or let go. */
static void settle(struct task *t)
{
    enum order_state s = t->row.state;
    if (t->gone || order_is_final(s) || s == ORDER_QUEUED) {
        if (!t->gone)
            changed(t);
        task_end(t);
    } else {
        task_enter(t);
    }
}

static void kill_for_test(const struct engine *en, enum order_state state)
{
    if (en->stop_at != NULL && strcmp(en->stop_at, order_state_name(state)) == 0)
        (void)raise(SIGKILL);
}

/* Whether the row was written. If not it is tried again later, or the order was lost to a cancel or
 * to another holder: all done here. */
static bool was_saved(struct task *t, struct job *j, enum err e)
{
    if (t->engine->stopping)
        return false;
    if (e == ERR_UNAVAILABLE || e == ERR_NOMEM) {
        /* nothing is done at the CA that was not written down first */
        log_error("%s", j->info.text);
        task_sleep(t, STORE_RETRY_S, submit_save);
        return false;
    }
    t->charge = 0;
    if (e == ERR_OK)
        return true;
    log_info("order %lld is no longer ours: %s", (long long)t->row.id, j->info.text);
    if (t->gone)
        leave_challenge(t);
    else
        task_end(t);
    return false;
}

static void count_move(struct task *t)
{
    int64_t now_ms = clock_mono_ms();
    struct orderstats *s = &t->engine->stats;
    orderstats_moved(s, t->issuer_no, t->old_state, t->row.state, now_ms - t->since_ms);
    if (t->row.state == ORDER_VALID)
        metric_observe(&s->whole_ms, now_ms - t->claimed_ms);
    t->since_ms = now_ms;
}

static void moved(struct task *t)
{
    count_move(t);
    kill_for_test(t->engine, t->row.state);
    log_debug("order %lld of %s is %s", (long long)t->row.id, t->row.device_id,
              order_state_name(t->row.state));
    if (t->row.state == ORDER_VALID)
        log_info("order %lld: %s issued certificate %s", (long long)t->row.id, t->row.issuer,
                 t->cert.serial);
    leave_challenge(t);
}

static void on_moved(struct job *j, enum err e)
{
    struct task *t = (struct task *)((char *)j - offsetof(struct task, save));
    if (was_saved(t, j, e))
        moved(t);
}

/* The coming write changes nothing about the CA's limits. */
static void leave_limits(struct task *t)
{
    t->refund = 0;
    t->failed_validation = false;
    t->park_until = 0;
}

static void note(struct task *t, const char *problem, const char *detail)
{
    (void)snprintf(t->row.problem, sizeof t->row.problem, "%s", problem != NULL ? problem : "");
    (void)snprintf(t->row.detail, sizeof t->row.detail, "%.255s", detail != NULL ? detail : "");
}

void task_move(struct task *t, enum order_event ev, const char *problem, const char *detail)
{
    enum order_state to = order_next(t->row.state, ev);
    if (to == ORDER_ILLEGAL) {
        log_error("order %lld: event %d in state %s: this is a defect", (long long)t->row.id,
                  (int)ev, order_state_name(t->row.state));
        to = ORDER_QUEUED;
        ev = ORDER_EV_LOST;
    }
    int64_t now = clock_now_s();
    t->old_state = t->row.state;
    t->row.state = to;
    t->row.failures = 0;
    t->row.due_at = now;
    t->polls = 0;
    t->step_deadline_ms = 0;
    note(t, problem, detail);
    if (ev == ORDER_EV_LOST) {
        t->row.lost++;
        t->row.url[0] = 0;
        t->row.due_at = now + backoff_order_s((unsigned)t->row.lost, t->seed);
        log_warn("order %lld at %s is lost (%s): %s; next try in %lld s", (long long)t->row.id,
                 t->row.issuer, t->row.problem, t->row.detail, (long long)(t->row.due_at - now));
    } else if (ev == ORDER_EV_REFUSED) {
        log_warn("order %lld is refused by %s (%s): %s", (long long)t->row.id, t->row.issuer,
                 t->row.problem, t->row.detail);
    }
    leave_limits(t);
    if (ev == ORDER_EV_LOST) {
        /* no certificate came of it; the order itself was counted */
        t->refund = (int)t->row.paid & (QUEUE_PAID(BUCKET_DOMAIN) | QUEUE_PAID(BUCKET_SET));
        /* a challenge that was not posted has not failed */
        t->failed_validation = t->old_state == ORDER_VALIDATING && (t->started || !t->authz_known);
        t->row.paid &= ~t->refund;
    }
    if (order_is_passed(t->old_state, to))
        moved(t);
    else
        write_row(t, !order_is_final(to) && to != ORDER_QUEUED, on_moved);
}

void task_hold(struct task *t, enum bucket_kind kind, int64_t until, const char *problem,
               const char *detail)
{
    bool by_limit = kind < BUCKET_KIND_N;
    t->old_state = t->row.state;
    t->row.state = order_next(t->row.state, ORDER_EV_HELD);
    t->row.due_at = until;
    t->refund = (int)t->row.paid;
    t->row.paid = 0;
    t->failed_validation = false;
    t->park = kind;
    t->park_until = by_limit ? until : 0; /* holds back all others whom it concerns */
    note(t, problem, detail);
    log_warn("order %lld at %s waits for %s until %lld (%s): %s", (long long)t->row.id,
             t->row.issuer, by_limit ? bucket_kind_name(kind) : "its time", (long long)until,
             t->row.problem, t->row.detail);
    write_row(t, false, on_moved);
}

static void on_still_ours(struct job *j, enum err e)
{
    struct task *t = (struct task *)((char *)j - offsetof(struct task, save));
    if (was_saved(t, j, e))
        t->again(t);
}

/* After the wait: the order may have been canceled meanwhile, and the lease starts anew. */
static void after_wait(struct task *t)
{
    t->old_state = t->row.state;
    leave_limits(t);
    write_row(t, true, on_still_ours);
}

static void on_noted(struct job *j, enum err e)
{
    struct task *t = (struct task *)((char *)j - offsetof(struct task, save));
    if (!was_saved(t, j, e))
        return;
    changed(t);
    task_sleep(t, t->wait_s, after_wait);
}

void task_retry(struct task *t, int64_t delay_s, void (*resume)(struct task *t),
                const char *problem, const char *detail)
{
    t->row.failures++;
    if (delay_s > KEEP_LIMIT_S) {
        task_park(t, delay_s, problem, detail);
        return;
    }
    t->row.due_at = clock_now_s() + delay_s;
    t->old_state = t->row.state;
    leave_limits(t);
    t->again = resume;
    t->wait_s = delay_s;
    note(t, problem, detail);
    log_info("order %lld at %s: %s: %s; again in %lld s", (long long)t->row.id, t->row.issuer,
             t->row.problem, t->row.detail, (long long)delay_s);
    write_row(t, true, on_noted);
}

static void on_parked(struct job *j, enum err e)
{
    struct task *t = (struct task *)((char *)j - offsetof(struct task, save));
    if (!was_saved(t, j, e))
        return;
    changed(t);
    task_end(t);
}

void task_park(struct task *t, int64_t delay_s, const char *problem, const char *detail)
{
    t->row.due_at = clock_now_s() + delay_s;
    t->old_state = t->row.state;
    leave_limits(t);
    note(t, problem, detail);
    log_warn("order %lld at %s waits %lld s (%s): %s", (long long)t->row.id, t->row.issuer,
             (long long)delay_s, t->row.problem, t->row.detail);
    write_row(t, false, on_parked);
}

/* --- claiming --- */

/* Not counted up: a node that was started again must not repeat the numbers of before. */
static int64_t claim_number(void)
{
    uint64_t n;
    secret_random(&n, sizeof n);
    return (int64_t)(n >> 1);
}

static void begin(struct engine *en, const struct order_row *row)
{
    struct task *t = task_new(en, row);
    if (t == NULL) {
        log_error("out of memory: an order waits");
        return; /* its lease ends, and it is claimed again */
    }
    if (row->state == ORDER_ORDERING && row->failures == 0) { /* its turn came with the claim */
        int64_t waited_s = clock_now_s() - row->due_at;
        kill_for_test(en, ORDER_QUEUED);
        orderstats_moved(&en->stats, t->issuer_no, ORDER_QUEUED, ORDER_ORDERING,
                         waited_s > 0 ? waited_s * 1000 : 0);
    }
    kill_for_test(en, t->row.state);
    if (t->zone == NULL) {
        task_park(t, 3600, "configuration", "the zone is not configured any more");
        return;
    }
    task_enter(t);
}

/* Milliseconds until the next look, where nothing kicks before. */
static int64_t wait_ms(const struct engine *en, const struct claim *c, enum err e)
{
    if (e != ERR_OK)
        return STORE_RETRY_S * 1000;
    int64_t ms = IDLE_S * 1000, now_ms = clock_mono_ms();
    if (c->next_at > 0 && (c->next_at - clock_now_s()) * 1000 < ms)
        ms = (c->next_at - clock_now_s()) * 1000;
    for (size_t i = 0; i < en->parts.config->n_issuers; i++) {
        int64_t at_ms = gate_opens_at_ms(&en->gates[i], c->looked_at_ms);
        if (at_ms - now_ms < ms)
            ms = at_ms - now_ms;
    }
    if (en->upkeep_ms - now_ms < ms)
        ms = en->upkeep_ms - now_ms;
    return ms > 0 ? ms : 0;
}

static void on_claimed(struct job *j, enum err e)
{
    struct claim *c = (struct claim *)j;
    struct engine *en = c->owner;
    en->claiming = false;
    en->claim_unsure = e != ERR_OK;
    if (e == ERR_OK) {
        en->clock_ahead_s = c->clock_ahead_s;
        en->claim = claim_number();
        if (c->look_for_dead)
            en->nodes_looked_at_ms = clock_mono_ms();
        if (c->adopt)
            en->adopted_ms = clock_mono_ms();
    } else {
        en->store_failed_at_ms = clock_mono_ms();
        log_error("%s", j->info.text);
    }
    for (size_t i = 0; i < c->n_rows && e == ERR_OK && !en->stopping; i++)
        begin(en, &c->rows[i]);
    if (!en->stopping) {
        en->again = en->again || (e == ERR_OK && c->n_rows == QUEUE_CLAIM_MAX);
        loop_timer_set(en->timer, wait_ms(en, c, e));
    }
    claim_free(c);
    if (en->again)
        engine_kick(en);
}

/* Where there are several. One that memory does not suffice for is as good as not known yet. */
static void describe_accounts(const struct engine *en, struct queue_issuer *q, size_t index)
{
    q->n_accounts = issuers_n_accounts(en->parts.issuers, index);
    for (size_t k = 0; q->n_accounts > 1 && k < q->n_accounts; k++) {
        struct issuer_facts facts;
        struct issuer *is = issuers_account(en->parts.issuers, index, k);
        is->ops->facts(is, &facts);
        if (facts.account[0] != 0)
            q->account[k] = strdup(facts.account);
    }
}

/* What each CA lets through, and which zones may ask it. */
static void describe_issuers(const struct engine *en, struct claim *c)
{
    const struct config *cfg = en->parts.config;
    int64_t now_ms = c->looked_at_ms;
    for (size_t i = 0; i < cfg->n_issuers; i++) {
        struct queue_issuer *q = &c->issuers[c->n_issuers++];
        const struct breaker *b = &en->gates[i].breaker;
        q->name = cfg->issuers[i].name;
        q->room = gate_room(&en->gates[i], now_ms);
        memcpy(q->limit, cfg->issuers[i].limit, sizeof q->limit);
        describe_accounts(en, q, i);
        c->away[i] = b->open && now_ms - b->open_since_ms > CLAIM_FAILOVER_S * 1000;
        for (size_t z = 0; z < cfg->n_zones; z++) {
            for (size_t k = 0; k < cfg->zones[z].n_issuers; k++) {
                if (cfg->zones[z].issuers[k] == i && q->n_zones < QUEUE_ZONES_MAX)
                    q->zones[q->n_zones++] = cfg->zones[z].name;
            }
        }
    }
}

static struct claim *prepare_claim(struct engine *en)
{
    struct claim *c = claim_new(en->parts.config);
    if (c == NULL)
        return NULL;
    c->owner = en;
    c->lease = (struct order_lease){ .node = en->parts.node, .claim = en->claim };
    c->unsure = en->claim_unsure;
    int64_t now_ms = clock_mono_ms();
    /* after trouble with the database the others have to be able to say first that they live */
    c->look_for_dead = now_ms - en->nodes_looked_at_ms >= NODE_LOOK_MS &&
                       now_ms - en->store_failed_at_ms >= CLAIM_NODE_DEAD_S * 1000;
    c->looked_at_ms = now_ms;
    c->clock_ahead_s = clock_now_s() - now_ms / 1000;
    c->clock_went_back = c->clock_ahead_s < en->clock_ahead_s - CLOCK_BACK_S;
    c->adopt = en->clock_ahead_s == INT64_MAX /* the first of this process */ ||
               now_ms - en->adopted_ms >= CLAIM_LEASE_S * 1000;
    c->upkeep = now_ms >= en->upkeep_ms;
    if (c->upkeep)
        en->upkeep_ms = now_ms + UPKEEP_S * 1000;
    describe_issuers(en, c);
    c->job.done = on_claimed;
    return c;
}

void engine_kick(struct engine *en)
{
    if (en->stopping)
        return;
    en->again = en->claiming;
    if (en->claiming)
        return;
    struct claim *c = prepare_claim(en);
    if (c == NULL) {
        loop_timer_set(en->timer, STORE_RETRY_S * 1000);
        return;
    }
    en->claiming = true;
    jobs_submit(en->parts.store, &c->job);
}

static void on_timer(void *arg)
{
    engine_kick(arg);
}

const struct orderstats *engine_stats(const struct engine *en)
{
    return &en->stats;
}

const struct gate *engine_gates(const struct engine *en)
{
    return en->gates;
}

struct challenge_store *engine_challenges(const struct engine *en, size_t zone)
{
    return en->zones[zone].store;
}

struct jobs *engine_challenge_jobs(const struct engine *en)
{
    return en->challenge_jobs;
}

/* --- start and end --- */

static enum err open_stores(struct engine *en, struct err_info *info)
{
    const struct config *c = en->parts.config;
    for (size_t i = 0; i < c->n_zones; i++) {
        if (c->zones[i].challenges == NULL)
            continue;
        for (size_t k = 0; k < i; k++) {
            if (c->zones[k].challenges != NULL &&
                strcmp(c->zones[k].challenges, c->zones[i].challenges) == 0)
                en->zones[i].store = en->zones[k].store;
        }
        if (en->zones[i].store != NULL)
            continue;
        enum err e = challenge_table_open(&en->zones[i].store, c->zones[i].challenges, info);
        if (e != ERR_OK)
            return err_prefix(info, e, "%s: challenges: ", c->zones[i].challenges_where);
        en->zones[i].owned = true;
    }
    return ERR_OK;
}

static enum err start_sweeps(struct engine *en)
{
    enum err e = ERR_OK;
    for (size_t i = 0; i < en->parts.config->n_zones && e == ERR_OK; i++) {
        if (en->zones[i].owned)
            e = sweep_new(&en->zones[i].sweep, en->parts.loop, en->parts.store, en->challenge_jobs,
                          en->zones[i].store);
    }
    return e;
}

enum err engine_new(struct engine **out, const struct engine_parts *parts, struct err_info *info)
{
    struct engine *en = calloc(1, sizeof *en);
    if (en == NULL)
        return err_set(info, ERR_NOMEM, "out of memory");
    en->parts = *parts;
    for (size_t i = 0; i < parts->config->n_issuers; i++)
        gate_init(&en->gates[i], parts->config->issuers[i].orders_at_once);
    en->stop_at = getenv("LANYARD_TEST_STOP_AT");
    en->claim = claim_number();
    en->store_failed_at_ms = clock_mono_ms();
    en->clock_ahead_s = INT64_MAX; /* the clock may have been set back while no process ran */
    enum err e = open_stores(en, info);
    if (e == ERR_OK)
        e = loop_timer_new(&en->timer, parts->loop, on_timer, en);
    if (e == ERR_OK)
        e = jobs_new(&en->challenge_jobs, parts->loop, NULL, NULL);
    if (e == ERR_OK)
        e = start_sweeps(en);
    struct windows_parts windows = { parts->loop, parts->config, parts->issuers, parts->store };
    if (e == ERR_OK)
        e = windows_new(&en->windows, &windows);
    if (e != ERR_OK) {
        engine_free(en);
        return e;
    }
    engine_kick(en);
    *out = en;
    return ERR_OK;
}

static enum err run_nothing(struct job *j, void *ctx)
{
    (void)j;
    (void)ctx;
    return ERR_OK;
}

static void on_challenge_last(struct job *j, enum err e)
{
    struct engine *en = (struct engine *)((char *)j - offsetof(struct engine, challenge_last));
    (void)e;
    en->on_stopped(en->on_stopped_arg);
}

static void on_store_last(struct job *j, enum err e)
{
    struct engine *en = (struct engine *)((char *)j - offsetof(struct engine, store_last));
    (void)e;
    jobs_submit(en->challenge_jobs, &en->challenge_last);
}

void engine_stop(struct engine *en, void (*fn)(void *arg), void *arg)
{
    en->stopping = true;
    en->on_stopped = fn;
    en->on_stopped_arg = arg;
    loop_timer_cancel(en->timer);
    windows_stop(en->windows);
    for (struct task *t = en->tasks; t != NULL; t = t->next)
        loop_timer_cancel(t->timer);
    for (size_t i = 0; i < CONFIG_LIST_MAX; i++)
        sweep_stop(en->zones[i].sweep);
    en->store_last = (struct job){ .run = run_nothing, .done = on_store_last };
    en->challenge_last = (struct job){ .run = run_nothing, .done = on_challenge_last };
    jobs_submit(en->parts.store, &en->store_last);
}

void engine_free(struct engine *en)
{
    if (en == NULL)
        return;
    windows_free(en->windows);
    jobs_free(en->challenge_jobs); /* first: its jobs are parts of the tasks */
    while (en->tasks != NULL)
        task_free(en->tasks);
    for (size_t i = 0; i < CONFIG_LIST_MAX; i++) {
        sweep_free(en->zones[i].sweep);
        if (en->zones[i].owned)
            challenge_store_free(en->zones[i].store);
        chain_above_clear(&en->above[i]);
    }
    loop_timer_free(en->timer);
    free(en);
}
