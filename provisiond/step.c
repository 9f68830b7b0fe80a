/* step.c - ENTER[state]: what is done in each state of an order. Each handler may be entered again
 * after a restart and begins by asking the CA how far the order is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "provisiond/core/backoff.h"
#include "provisiond/core/chain.h"
#include "provisiond/store/queue.h"
#include "provisiond/task.h"

#define READBACK_LIMIT_MS 120000 /* for all name servers to answer the value */
#define READBACK_QUIET 3         /* looks before the wait is worth a note */
#define VALIDATE_LIMIT_MS 600000 /* for the CA to validate */
#define ISSUE_LIMIT_MS 600000    /* for the CA to issue after finalize */
#define ORDER_LIFE_S 3600        /* a pending order older than this is not worth saving */
#define TRIES_MAX 3              /* for a new order, before another may take the place */
#define HOLD_DEFAULT_S 3600      /* a limit that came without Retry-After */
#define HUMAN_WAIT_S 3600
#define PERMANENT_WAIT_S 86400
#define RETRY_AFTER_MAX_S 86400
#define POLL_MAX_S 30 /* between two looks at a pending object: some CAs say 86400 [ZeroSSL] */

static void look_at_order(struct task *t);
static void next_authz(struct task *t);
static void read_back(struct task *t);
static void poll_authz(struct task *t);

static int64_t at_least(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* What the device and the operator are told: the CA's own word, where it has one. */
static const char *problem_of(const struct issuer_reply *r)
{
    if (r->type[0] != 0)
        return r->type;
    return r->verdict == ISSUER_NEW_ORDER ? "order-lost"
           : r->verdict == ISSUER_HOLD    ? "rateLimited"
                                          : "ca-unavailable";
}

static enum bucket_kind bucket_of(enum issuer_limit limit)
{
    switch (limit) {
    case ISSUER_LIMIT_ACCOUNT:
        return BUCKET_ORDERS;
    case ISSUER_LIMIT_DOMAIN:
        return BUCKET_DOMAIN;
    case ISSUER_LIMIT_NAMES:
        return BUCKET_SET;
    case ISSUER_LIMIT_FAILURES:
        return BUCKET_FAILURES;
    case ISSUER_LIMIT_PAUSED:
        return BUCKET_KIND_N; /* this name alone */
    default:
        return BUCKET_ALL;
    }
}

/* What keeps a new order from being taken: the order goes back to the queue, and the limit that the
 * CA named holds back those behind it. */
static bool held(struct task *t, const struct issuer_reply *r, const char *type, int64_t now)
{
    int64_t after = r->retry_after_s < RETRY_AFTER_MAX_S ? r->retry_after_s : RETRY_AFTER_MAX_S;
    switch (r->verdict) {
    case ISSUER_RETRY:
    case ISSUER_RESUME:
        if (t->row.failures + 1 < TRIES_MAX)
            return false;
        t->row.failures++;
        task_hold(t, BUCKET_KIND_N,
                  now + at_least(after, backoff_step_s((unsigned)t->row.failures, t->seed)), type,
                  r->info.text);
        return true;
    case ISSUER_HOLD:
        task_hold(t, bucket_of(r->limit), now + (after > 0 ? after : HOLD_DEFAULT_S), type,
                  r->info.text);
        return true;
    case ISSUER_HUMAN:
        task_hold(t, bucket_of(r->limit), now + at_least(after, HUMAN_WAIT_S), type, r->info.text);
        return true;
    case ISSUER_PERMANENT: /* no other request would help: only a change of the CA's mind */
        task_hold(t, BUCKET_KIND_N, now + at_least(after, PERMANENT_WAIT_S), type, r->info.text);
        return true;
    default:
        return false;
    }
}

/* Acts on a reply that is not ISSUER_OK. `again` repeats the same request; `look` asks where the
 * order stands. True when the reply was dealt with here. */
static bool failed(struct task *t, const struct issuer_reply *r, void (*again)(struct task *t),
                   void (*look)(struct task *t))
{
    const char *type = problem_of(r);
    int64_t now = clock_now_s(), after = r->retry_after_s;
    if (after > RETRY_AFTER_MAX_S)
        after = RETRY_AFTER_MAX_S;
    task_count(t, r);
    if (t->row.state == ORDER_ORDERING && held(t, r, type, now))
        return true;
    switch (r->verdict) {
    case ISSUER_OK:
        return false;
    case ISSUER_RETRY:
    case ISSUER_RESUME:
        /* failures count until the order moves: a look that succeeds between two refusals of the
         * same request would otherwise make a loop of them */
        if (t->row.state != ORDER_ORDERING && now - t->row.begun_at > ORDER_LIFE_S)
            task_move(t, ORDER_EV_LOST, type, r->info.text);
        else
            task_retry(t, at_least(after, backoff_step_s((unsigned)t->row.failures + 1, t->seed)),
                       r->verdict == ISSUER_RETRY ? again : look, type, r->info.text);
        return true;
    case ISSUER_HOLD:
        task_park(t, after > 0 ? after : HOLD_DEFAULT_S, type, r->info.text);
        return true;
    case ISSUER_HUMAN:
        task_park(t, at_least(after, HUMAN_WAIT_S), type, r->info.text);
        return true;
    case ISSUER_PERMANENT: /* no other request would help: only a change of the CA's mind */
        task_park(t, at_least(after, PERMANENT_WAIT_S), type, r->info.text);
        return true;
    case ISSUER_DEVICE:
        task_move(t, ORDER_EV_REFUSED, type, r->info.text);
        return true;
    case ISSUER_NEW_ORDER:
        break;
    }
    task_move(t, ORDER_EV_LOST, type, r->info.text);
    return true;
}

static bool past_deadline(struct task *t, int64_t limit_ms)
{
    int64_t now = clock_mono_ms();
    if (t->step_deadline_ms == 0)
        t->step_deadline_ms = now + limit_ms;
    return now >= t->step_deadline_ms;
}

/* Looks again at an object that is pending at the CA. */
static void poll_later(struct task *t, int64_t retry_after_s, void (*look)(struct task *t))
{
    int64_t wait_s = at_least(retry_after_s, backoff_poll_s(++t->polls));
    if (t->polls == 1 && retry_after_s == 0) { /* most CAs are done in a moment */
        task_nap(t, look);
        return;
    }
    task_sleep(t, wait_s < POLL_MAX_S ? wait_s : POLL_MAX_S, look);
}

/* --- the order --- */

static void on_new_order(void *arg, const struct issuer_order *o);

static void order_new(struct task *t)
{
    const char *names[ISSUER_NAMES_MAX];
    for (size_t i = 0; i < t->n_names; i++)
        names[i] = t->names[i];
    struct issuer_facts ca;
    t->issuer->ops->facts(t->issuer, &ca);
    t->replaces_sent = t->row.replaces[0] != 0 && clock_now_s() < t->row.replaces_until &&
                       strcmp(ca.account, t->row.replaces_account) == 0;
    struct issuer_params params = {
        .names = names,
        .n_names = t->n_names,
        .profile = t->ca->profile,
        .replaces = t->replaces_sent ? t->row.replaces : NULL,
        .not_after = t->ca->lifetime_s > 0 ? clock_now_s() + t->ca->lifetime_s : 0,
    };
    t->issuer->ops->order_new(t->issuer, &params, on_new_order, t);
}

/* The order names no certificate after all, so that the CA counts it. It is not named again. */
static void pay_without_replaces(struct task *t)
{
    int due = QUEUE_PAID(BUCKET_SET);
    if (!t->ca->renewals_exempt)
        due |= QUEUE_PAID(BUCKET_ORDERS) | QUEUE_PAID(BUCKET_DOMAIN);
    t->charge = due & ~(int)t->row.paid;
    t->row.paid |= t->charge;
    t->row.replaces[0] = 0;
}

static void on_new_order(void *arg, const struct issuer_order *o)
{
    struct task *t = arg;
    if (failed(t, &o->reply, order_new, order_new))
        return;
    if (t->row.replaces[0] != 0 && (!t->replaces_sent || o->replaces_refused))
        pay_without_replaces(t);
    t->order = *o;
    t->order_known = true;
    t->row.begun_at = clock_now_s();
    (void)snprintf(t->row.url, sizeof t->row.url, "%s", o->url);
    (void)snprintf(t->row.account, sizeof t->row.account, "%s", o->account);
    if (o->status == ISSUER_INVALID)
        task_move(t, ORDER_EV_LOST, "order-invalid", "the CA began an order that is invalid");
    else if (o->status == ISSUER_READY)
        task_move(t, ORDER_EV_READY, NULL, NULL);
    else if (o->status == ISSUER_VALID)
        task_move(t, ORDER_EV_ISSUED, NULL, NULL);
    else
        task_move(t, ORDER_EV_DONE, NULL, NULL);
}

static void finalize(struct task *t);

/* Where the order stands decides where we go on; the CA may be further than our last note of it. */
static void on_order(void *arg, const struct issuer_order *o)
{
    struct task *t = arg;
    if (failed(t, &o->reply, look_at_order, look_at_order))
        return;
    t->order = *o;
    t->order_known = true;
    bool finalizing = t->row.state == ORDER_FINALIZING;
    if (o->status == ISSUER_INVALID) {
        task_move(t, ORDER_EV_LOST, o->reply.type[0] != 0 ? o->reply.type : "order-invalid",
                  o->reply.info.text[0] != 0 ? o->reply.info.text
                                             : "the CA made the order invalid");
    } else if (t->row.state == ORDER_DOWNLOADING) {
        task_enter(t);
    } else if (o->status == ISSUER_VALID) {
        task_move(t, ORDER_EV_ISSUED, NULL, NULL);
    } else if (finalizing && o->status == ISSUER_PENDING) {
        task_move(t, ORDER_EV_LOST, "order-pending", "an authorisation of the order has expired");
    } else if (finalizing && past_deadline(t, ISSUE_LIMIT_MS)) {
        task_move(t, ORDER_EV_LOST, "issue-timeout", "the CA did not issue in ten minutes");
    } else if (finalizing && o->status == ISSUER_READY) {
        finalize(t);
    } else if (finalizing) {
        poll_later(t, o->reply.retry_after_s, look_at_order);
    } else if (o->status == ISSUER_READY || o->status == ISSUER_PROCESSING) {
        task_move(t, ORDER_EV_READY, NULL, NULL);
    } else {
        t->n_authz = o->n_authz;
        t->at = 0;
        next_authz(t);
    }
}

static void look_at_order(struct task *t)
{
    t->issuer->ops->order_get(t->issuer, t->row.url, on_order, t);
}

/* --- authorisations --- */

static void on_authz(void *arg, const struct issuer_authz *a)
{
    struct task *t = arg;
    if (failed(t, &a->reply, next_authz, look_at_order))
        return;
    if (a->status == ISSUER_INVALID) {
        task_move(t, ORDER_EV_LOST, a->reply.type[0] != 0 ? a->reply.type : "authz-invalid",
                  a->reply.info.text);
        return;
    }
    if (a->status != ISSUER_VALID && !a->has_challenge) {
        task_move(t, ORDER_EV_REFUSED, "no-challenge", "the CA offers no challenge of ours");
        return;
    }
    t->authz[t->at++] = *a;
    next_authz(t);
}

/* Reads one authorisation after the other, then enters the state anew with all of them known. */
static void next_authz(struct task *t)
{
    if (t->at < t->n_authz) {
        t->issuer->ops->authz_get(t->issuer, t->order.authz_url[t->at], on_authz, t);
        return;
    }
    t->at = 0;
    t->authz_known = true;
    task_enter(t);
}

/* --- publishing --- */

static void publish_done(struct task *t)
{
    task_move(t, ORDER_EV_DONE, NULL, NULL);
}

/* Whether the CA looks for what stands in DNS all the time. */
static bool waits_for_record(const struct task *t)
{
    for (size_t i = 0; i < t->n_authz; i++)
        if (t->authz[i].status != ISSUER_VALID && t->authz[i].standing)
            return true;
    return false;
}

static void start_challenge(struct task *t);

/* Every name server has the values: on, or, for an order that was taken up again while it was
 * validated, to the challenge that may not have been posted yet. */
static void read_back_done(struct task *t)
{
    if (t->row.state != ORDER_VALIDATING) {
        task_move(t, ORDER_EV_DONE, NULL, NULL);
        return;
    }
    t->at = 0;
    t->step_deadline_ms = 0;
    start_challenge(t);
}

static void on_read_back(void *arg, enum err e, const char *sentence)
{
    struct task *t = arg;
    struct err_info help = { "" };
    t->readback = NULL;
    if (e != ERR_OK && waits_for_record(t)) {
        (void)err_set(&help, e,
                      "%s: lanyard-dnsd makes the record from what 'lanyard-provisiond issuer "
                      "persist %s' prints (option persist)",
                      sentence, t->zone->name);
        sentence = help.text;
    }
    if (e == ERR_OK) {
        read_back_done(t);
    } else if (past_deadline(t, READBACK_LIMIT_MS)) {
        task_move(t, ORDER_EV_LOST, "dns-not-ready", sentence);
    } else if (++t->polls < READBACK_QUIET) {
        task_sleep(t, backoff_poll_s(t->polls), read_back);
    } else { /* more than a moment: the operator and the device are told */
        task_retry(t, backoff_poll_s(t->polls), read_back, "dns-not-ready", sentence);
    }
}

static void read_back(struct task *t)
{
    char name[TASK_NAME_MAX + 32];
    const char *values[ISSUER_NAMES_MAX];
    size_t n = 0;
    for (size_t i = 0; i < t->n_authz; i++) {
        if (t->authz[i].status != ISSUER_VALID)
            values[n++] = t->authz[i].txt_value;
    }
    if (n == 0) { /* every authorisation was reused, though the order is not ready yet */
        read_back_done(t);
        return;
    }
    (void)past_deadline(t, READBACK_LIMIT_MS);
    (void)snprintf(name, sizeof name, "%s.%s.%s",
                   waits_for_record(t) ? "_validation-persist" : "_acme-challenge",
                   t->row.device_id, t->zone->name);
    if (readback_start(&t->readback, task_loop(t), t->zone, name, values, n, on_read_back, t) !=
        ERR_OK)
        task_retry(t, 1, read_back, "out-of-memory", "out of memory");
}

/* --- validation --- */

static void on_started(void *arg, const struct issuer_authz *a)
{
    struct task *t = arg;
    if (failed(t, &a->reply, start_challenge, look_at_order))
        return;
    t->started = true;
    t->at++;
    start_challenge(t);
}

static void start_challenge(struct task *t)
{
    while (t->at < t->n_authz && (t->authz[t->at].status == ISSUER_VALID ||
                                  t->authz[t->at].challenge_status != ISSUER_PENDING))
        t->at++;
    if (t->at < t->n_authz) {
        t->issuer->ops->challenge_start(t->issuer, t->authz[t->at].challenge_url, on_started, t);
        return;
    }
    t->at = 0;
    t->started = true;
    t->polls = 0;
    poll_authz(t);
}

static void on_polled(void *arg, const struct issuer_authz *a)
{
    struct task *t = arg;
    if (failed(t, &a->reply, poll_authz, look_at_order))
        return;
    if (a->status == ISSUER_VALID) {
        t->authz[t->at++].status = ISSUER_VALID;
        poll_authz(t);
    } else if (a->status == ISSUER_INVALID || a->challenge_failed) {
        /* some CAs leave a failed challenge pending for ever, with its error */
        task_move(t, ORDER_EV_LOST, a->reply.type[0] != 0 ? a->reply.type : "validation-failed",
                  a->reply.info.text[0] != 0 ? a->reply.info.text : "the CA refused the challenge");
    } else if (past_deadline(t, VALIDATE_LIMIT_MS)) {
        task_move(t, ORDER_EV_LOST, "validation-timeout", "the CA did not validate in ten minutes");
    } else {
        poll_later(t, a->reply.retry_after_s, poll_authz);
    }
}

static void poll_authz(struct task *t)
{
    (void)past_deadline(t, VALIDATE_LIMIT_MS);
    while (t->at < t->n_authz && t->authz[t->at].status == ISSUER_VALID)
        t->at++;
    if (t->at < t->n_authz)
        t->issuer->ops->authz_get(t->issuer, t->order.authz_url[t->at], on_polled, t);
    else
        task_move(t, ORDER_EV_DONE, NULL, NULL);
}

/* --- issuing --- */

static void on_finalized(void *arg, const struct issuer_order *o)
{
    struct task *t = arg;
    /* a lost answer to finalize may have been a success: look, do not send it again */
    if (failed(t, &o->reply, look_at_order, look_at_order))
        return;
    t->order = *o;
    if (o->status == ISSUER_VALID)
        task_move(t, ORDER_EV_DONE, NULL, NULL);
    else
        poll_later(t, o->reply.retry_after_s, look_at_order);
}

static void send_csr(struct task *t)
{
    struct buf csr = t->csr; /* the task may be gone with the reply */
    t->csr = (struct buf){ .p = NULL };
    t->issuer->ops->finalize(t->issuer, &t->order, buf_span(&csr), on_finalized, t);
    buf_clear(&csr);
}

static void finalize(struct task *t)
{
    (void)past_deadline(t, ISSUE_LIMIT_MS);
    task_load_csr(t, send_csr);
}

static void download(struct task *t);

static void on_chain(void *arg, const struct issuer_chain *c)
{
    struct task *t = arg;
    struct err_info info = { "" };
    struct chain_facts facts;
    if (failed(t, &c->reply, download, look_at_order))
        return;
    const char *names[ISSUER_NAMES_MAX];
    for (size_t i = 0; i < t->n_names; i++)
        names[i] = t->names[i];
    struct chain_expect expect = { t->row.spki_sha256, names, t->n_names, clock_now_s(), t->above };
    enum err e = chain_check(c->pem, &expect, &facts, &info);
    if (e == ERR_NOMEM) {
        task_retry(t, 1, download, "out-of-memory", "out of memory");
        return;
    }
    if (e != ERR_OK) {
        log_error("issuer %s returned a certificate that was not asked for (order %lld): %s",
                  t->issuer->name, (long long)t->row.id, info.text);
        task_move(t, ORDER_EV_LOST, "bad-certificate", info.text);
        return;
    }
    struct issuer_facts ca;
    t->issuer->ops->facts(t->issuer, &ca);
    t->has_windows = ca.has_renewal_info;
    t->chain = buf_take(&facts.pem);
    t->cert = (struct certificate_row){ .order_id = t->row.id,
                                        .not_before = facts.not_before_s,
                                        .not_after = facts.not_after_s,
                                        .issued_at = clock_now_s() };
    (void)snprintf(t->cert.serial, sizeof t->cert.serial, "%s", facts.serial);
    (void)snprintf(t->cert.ari_id, sizeof t->cert.ari_id, "%s", facts.ari_id);
    task_move(t, ORDER_EV_DONE, NULL, NULL);
}

static void download(struct task *t)
{
    t->issuer->ops->download(t->issuer, t->order.certificate_url, on_chain, t);
}

/* --- the states --- */

static void enter_queued(struct task *t)
{
    task_move(t, ORDER_EV_DUE, NULL, NULL);
}

static void enter_authorizing(struct task *t)
{
    if (t->authz_known) {
        task_put_values(t, publish_done);
    } else if (t->order_known) { /* fresh from newOrder, which named the authorisations */
        t->n_authz = t->order.n_authz;
        t->at = 0;
        next_authz(t);
    } else {
        look_at_order(t);
    }
}

static void enter_publishing(struct task *t)
{
    if (!t->authz_known)
        look_at_order(t);
    else if (!t->values_put)
        task_put_values(t, read_back);
    else
        read_back(t);
}

/* Whether a challenge is still to be posted: then the CA must be able to see its value. */
static bool is_to_post(const struct task *t)
{
    for (size_t i = 0; i < t->n_authz; i++)
        if (t->authz[i].status != ISSUER_VALID && t->authz[i].challenge_status == ISSUER_PENDING)
            return true;
    return false;
}

static void put_for_validation(struct task *t)
{
    t->at = 0;
    if (is_to_post(t))
        read_back(t);
    else
        start_challenge(t);
}

static void enter_validating(struct task *t)
{
    if (!t->authz_known) {
        look_at_order(t);
    } else if (!t->values_put) {
        task_put_values(t, put_for_validation);
    } else {
        t->at = 0;
        start_challenge(t);
    }
}

static void enter_finalizing(struct task *t)
{
    /* fresh from validation the order is ready, and a request is saved; if not, the CA says so */
    if (t->order_known && t->order.finalize_url[0] != 0)
        finalize(t);
    else
        look_at_order(t);
}

static void enter_downloading(struct task *t)
{
    if (t->order_known && t->order.certificate_url[0] != 0)
        download(t);
    else if (t->order_known)
        task_move(t, ORDER_EV_LOST, "no-certificate", "the CA's valid order has no certificate");
    else
        look_at_order(t);
}

void task_enter(struct task *t)
{
    static void (*const ENTER[ORDER_STATE_N])(struct task * t) = {
        [ORDER_QUEUED] = enter_queued,           [ORDER_ORDERING] = order_new,
        [ORDER_AUTHORIZING] = enter_authorizing, [ORDER_PUBLISHING] = enter_publishing,
        [ORDER_VALIDATING] = enter_validating,   [ORDER_FINALIZING] = enter_finalizing,
        [ORDER_DOWNLOADING] = enter_downloading,
    };
    ENTER[t->row.state](t);
}
