#include "agent/issuance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/api.h"
#include "agent/core/backoff.h"
#include "agent/core/csr.h"
#include "agent/core/factoryproof.h"
#include "agent/core/issued.h"
#include "agent/core/renewal.h"
#include "agent/fallback.h"
#include "agent/statefile.h"
#include "agent/timekeeper.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/pki/cert.h"

#define WAIT_MAX_S 86400 /* no failure parks us for longer, whatever was said or stored */
#define CHECK_MS 60000   /* a clock that was set is noticed within this */
#define CLOCK_STEP_S 60  /* less is adjusting, more is setting */
#define POLL_PAUSE_S 5   /* between two polls when the service names no time */
#define POLL_PAUSE_MAX_S 3600
#define FREE_STARTS 3    /* unfinished starts in a row without a wait */
#define STARTS_COUNTED 8 /* from here on the wait is the longest: nothing to write for the next */
#define ASK_SOON_S 60    /* after a certificate came: by then the service knows its window */
#define ASK_START_S 600
#define ASK_AGAIN_S 3600    /* after a question without an answer */
#define RENEWAL_CHANGE_S 60 /* smaller moves of the renewal are not worth a write */
#define WORDS_TAKEN 5       /* failures in a row from which on no Retry-After is below retry_s */
#define LOST_POLL_S 5       /* after the first poll that broke off: services restart */

struct issuance {
    struct loop *loop;
    struct issuance_options o;
    struct api *api;
    struct loop_timer *timer;
    struct journal journal;
    struct certset current; /* chain NULL: none */
    char name[ISSUANCE_NAME_MAX];
    char detail[sizeof(struct err_info)];
    int64_t due_ms;         /* monotonic: the next step, outside LIFECYCLE_SERVE */
    int64_t ask_ms;         /* monotonic, in LIFECYCLE_SERVE: when to ask how long to wait */
    int64_t clock_offset_s; /* of the time against the monotonic clock, when last looked at */
    int64_t wall_offset_s;  /* of what the clock says against CLOCK_BOOTTIME, likewise */
    unsigned refused;       /* certificates in a row that could not be put in place */
    char storage[sizeof(struct err_info)]; /* why the journal could not be written; "": it was */
    bool under_way;                        /* an exchange is */
    bool forgetting;
    bool force;
    void (*on_forgotten)(void *arg, enum err e, const struct err_info *info);
    void *forget_arg;
};

static const char *state_dir(const struct issuance *s)
{
    return s->o.config->state_dir;
}

static int64_t now_s(const struct issuance *s)
{
    return timekeeper_now_s(s->o.time);
}

static void save(struct issuance *s)
{
    struct err_info info = { "" };
    if (s->journal.state == LIFECYCLE_GONE)
        return; /* forgotten: what ends only now must leave nothing */
    if (journal_save(&s->journal, state_dir(s), &info) != ERR_OK)
        log_error("%s", info.text); /* goes on in memory: serving matters more */
    (void)snprintf(s->storage, sizeof s->storage, "%s", info.text);
}

static uint32_t random_u32(void)
{
    uint32_t r;
    secret_random(&r, sizeof r);
    return r;
}

static int64_t backoff_s(const struct issuance *s, unsigned attempts)
{
    int64_t life_s =
        s->current.chain != NULL ? s->current.not_after_s - s->current.not_before_s : 0;
    return backoff_delay_s(attempts, s->o.config->retry_s, life_s, random_u32());
}

static bool is_waiting(const struct issuance *s)
{
    return !s->under_way && !s->forgetting;
}

static int64_t clock_offset(const struct issuance *s)
{
    return now_s(s) - clock_mono_ms() / 1000;
}

static int64_t wall_offset(void)
{
    return clock_now_s() - clock_boot_ms() / 1000;
}

static bool is_step(int64_t by_s)
{
    return by_s <= -CLOCK_STEP_S || by_s >= CLOCK_STEP_S;
}

/* Arms the timer for the next step of the present state, and for a look at the clock. */
static void schedule(struct issuance *s)
{
    int64_t wait_ms = s->due_ms - clock_mono_ms();
    int64_t check_ms = s->o.config->retry_s * 1000;
    if (s->journal.state == LIFECYCLE_SERVE) {
        /* by the calendar: a certificate's dates are. Asked again and again, since it may be set.
         */
        wait_ms = backoff_remaining_s(s->journal.renew_at, now_s(s), WAIT_MAX_S) * 1000;
        int64_t ask_ms = s->ask_ms - clock_mono_ms();
        if (ask_ms < wait_ms)
            wait_ms = ask_ms > 0 ? ask_ms : 0;
    }
    if (check_ms > CHECK_MS)
        check_ms = CHECK_MS;
    loop_timer_set(s->timer, wait_ms > check_ms ? check_ms : wait_ms);
}

static void set_wait(struct issuance *s, int64_t wait_s)
{
    s->journal.retry_at = wait_s > 0 ? now_s(s) + wait_s : 0;
    s->due_ms = clock_mono_ms() + wait_s * 1000;
}

static void tell_state(const struct issuance *s)
{
    if (s->o.on_state != NULL)
        s->o.on_state(s->o.arg);
}

/* What failed under a wrong clock (every certificate looks expired, or not valid yet) may go well
 * now, and a long wait may just have begun. */
static void notice_clock(struct issuance *s)
{
    timekeeper_look(s->o.time);
    int64_t by_s = clock_offset(s) - s->clock_offset_s,
            wall_by_s = wall_offset() - s->wall_offset_s;
    s->clock_offset_s += by_s;
    s->wall_offset_s += wall_by_s;
    if (is_step(wall_by_s)) /* set, or a machine that was paused: the service knows which */
        s->ask_ms = clock_mono_ms();
    if (!is_step(by_s))
        return;
    log_info("it is %lld s %s than it was taken to be", (long long)(by_s < 0 ? -by_s : by_s),
             by_s < 0 ? "earlier" : "later");
    if (s->journal.error[0] != 0)
        set_wait(s, 0);
    s->o.on_clock(s->o.arg);
}

static void note_error(struct issuance *s, const char *text)
{
    (void)snprintf(s->journal.error, sizeof s->journal.error, "%s", text);
    s->journal.error_at = text[0] != 0 ? now_s(s) : 0;
}

/* Takes the event: the new state is on disk before its step runs, from the loop, `wait_s` later. */
static void go(struct issuance *s, enum lifecycle_event ev, int64_t wait_s)
{
    enum lifecycle_state next = lifecycle_next(s->journal.state, ev);
    if (next == LIFECYCLE_ILLEGAL) {
        log_error("event %d cannot happen in state %s", (int)ev, lifecycle_name(s->journal.state));
        next = s->journal.state;
        wait_s = s->o.config->retry_s;
    }
    if (next != s->journal.state)
        s->detail[0] = 0;
    s->journal.state = next;
    set_wait(s, wait_s);
    save(s);
    schedule(s);
    tell_state(s);
}

static void succeed(struct issuance *s, enum lifecycle_event ev)
{
    /* one success does not forget that it went badly: two steps that undo each other must not spin
     */
    if (s->journal.attempts > 1)
        s->journal.attempts = 1;
    note_error(s, "");
    go(s, ev, 0);
}

static void fail(struct issuance *s, enum lifecycle_event ev, const char *why,
                 int64_t retry_after_s)
{
    bool lost_poll = s->journal.state == LIFECYCLE_POLL && s->journal.attempts == 0;
    s->journal.attempts++;
    int64_t wait_s = backoff_s(s, s->journal.attempts);
    if (lost_poll && wait_s > LOST_POLL_S)
        wait_s = LOST_POLL_S;
    if (retry_after_s >= 0) { /* the service knows better, both ways */
        int64_t told_s = retry_after_s > 0 ? retry_after_s + (int64_t)(random_u32() % 4) : 1;
        int64_t unit_s = s->o.config->retry_s;
        int64_t least_s = s->journal.attempts < WORDS_TAKEN ? 1 : wait_s < unit_s ? wait_s : unit_s;
        wait_s = told_s > least_s ? told_s : least_s; /* each attempt is a write to flash, too */
    }
    note_error(s, why);
    go(s, ev, wait_s);
    log_warn("%s: %s; next attempt in %lld s", lifecycle_name(s->journal.state), why,
             (long long)wait_s);
}

/* Another way has to be taken, which is no failure the first time. */
static void detour(struct issuance *s, enum lifecycle_event ev, const char *why)
{
    int64_t wait_s = backoff_s(s, s->journal.attempts);
    s->journal.attempts++;
    note_error(s, why);
    go(s, ev, wait_s);
    log_info("%s: %s", lifecycle_name(s->journal.state), why);
}

static void drop_pending(struct issuance *s)
{
    struct err_info info;
    if (certstore_pending_drop(state_dir(s), &info) != ERR_OK)
        log_warn("%s", info.text);
}

/* ---- steps ---------------------------------------------------------------------------------- */

static void on_enrolled(void *arg, const struct api_result *res)
{
    struct issuance *s = arg;
    const struct answer *a = &res->answer;
    s->under_way = false;
    if (a->kind == ANSWER_OK && strcmp(a->id, s->o.identity->id.text) != 0)
        fail(s, LIFECYCLE_EV_FAILED, "the service takes us for another device", -1);
    else if (a->kind == ANSWER_OK)
        succeed(s, LIFECYCLE_EV_OK);
    else
        fail(s, LIFECYCLE_EV_FAILED, a->info.text, res->retry_after_s);
}

static void step_enrol(struct issuance *s)
{
    const struct config *c = s->o.config;
    struct api_enrolment what = { .zone = c->zone,
                                  .token = c->token,
                                  .factory_chain = c->factory_chain };
    struct buf proof;
    buf_init(&proof, 2048);
    if (c->factory_key != NULL) {
        if (factoryproof_make(&proof, c->factory_key, s->o.identity->key, c->zone) == ERR_OK)
            what.factory_proof = buf_str(&proof);
        else
            log_error("the factory key cannot sign");
    }
    s->under_way = true;
    api_enroll(s->api, &what, on_enrolled, s);
    buf_clear(&proof);
}

/* Reads the pending key and CSR. ERR_NOTFOUND when there are none that can be used. */
static enum err get_pending(struct issuance *s, EVP_PKEY **key, struct buf *csr)
{
    struct err_info info;
    EVP_PKEY *k = NULL;
    enum err e = certstore_pending_get(state_dir(s), &k, csr, &info);
    if (e == ERR_NOTFOUND)
        return e;
    if (e == ERR_OK)
        e = csr_check(buf_span(csr), k, s->name);
    if (e == ERR_OK) {
        *key = k;
        return ERR_OK;
    }
    EVP_PKEY_free(k);
    log_warn("the pending key or request is of no use: making another");
    return ERR_NOTFOUND;
}

/* Asks the service about the renewal within `most_s`, sooner for a short life. By chance: a fleet
 * that starts together must not ask together. */
static void ask_within(struct issuance *s, int64_t most_s)
{
    int64_t cap_s = (s->current.not_after_s - s->current.not_before_s) / 64;
    if (most_s > cap_s)
        most_s = cap_s > 0 ? cap_s : 1;
    s->ask_ms = clock_mono_ms() + (int64_t)(random_u32() % (uint32_t)(most_s * 1000));
}

static bool is_current_key(const struct issuance *s, EVP_PKEY *key)
{
    return s->current.key != NULL && EVP_PKEY_eq(s->current.key, key) == 1;
}

static enum err make_pending(struct issuance *s, struct err_info *info)
{
    EVP_PKEY *key = NULL;
    struct buf csr;
    buf_init(&csr, CSR_PEM_MAX);
    enum err e = key_new(&key, s->o.config->key_type);
    if (e == ERR_OK)
        e = csr_new(&csr, key, s->name);
    if (e != ERR_OK)
        (void)err_set(info, e, "cannot make a key and a request");
    else
        e = certstore_pending_put(state_dir(s), key, buf_span(&csr), info);
    buf_clear(&csr);
    EVP_PKEY_free(key);
    return e;
}

static void step_key(struct issuance *s)
{
    struct err_info info;
    EVP_PKEY *key = NULL;
    struct buf csr;
    buf_init(&csr, CSR_PEM_MAX);
    enum err e = get_pending(s, &key, &csr);
    if (e != ERR_OK || is_current_key(s, key))
        e = make_pending(s, &info);
    EVP_PKEY_free(key);
    buf_clear(&csr);
    if (e == ERR_OK)
        succeed(s, LIFECYCLE_EV_OK);
    else
        fail(s, LIFECYCLE_EV_FAILED, info.text, -1);
}

/* Notes where the certificate in place stands, and when it is to be renewed: chosen once. */
static void choose_renewal(struct issuance *s)
{
    struct journal *j = &s->journal;
    if (j->renew_generation == s->current.generation)
        return;
    j->renew_generation = s->current.generation;
    j->renew_at = renewal_at(s->current.not_before_s, s->current.not_after_s,
                             span_str(s->o.identity->id.text));
    /* a clock behind the certificate's start must not make the life look longer than it is */
    int64_t life_s = s->current.not_after_s - s->current.not_before_s;
    int64_t present_s = now_s(s);
    if (present_s >= ISSUED_CLOCK_FLOOR_S && j->renew_at - present_s > life_s)
        j->renew_at = present_s + life_s / 2;
}

static enum err put_in_place(struct issuance *s, struct span pem, struct err_info *info)
{
    STACK_OF(X509) *chain = NULL;
    EVP_PKEY *key = NULL;
    struct buf csr;
    struct certset set = { 0 };
    buf_init(&csr, CSR_PEM_MAX);
    enum err e = get_pending(s, &key, &csr);
    if (e != ERR_OK)
        e = err_set(info, ERR_CRYPTO, "the key of the certificate is not there any more");
    if (e == ERR_OK && cert_chain_parse(&chain, pem, info) != ERR_OK)
        e = err_prefix(info, ERR_CRYPTO, "what the service calls a certificate is none: ");
    if (e == ERR_OK)
        e = issued_check(chain, key, s->name, now_s(s), info);
    if (e == ERR_OK)
        e = certstore_install(state_dir(s), key, chain, &s->o.config->bundle, &s->o.config->access,
                              info);
    if (e == ERR_OK)
        e = certstore_current(state_dir(s), &s->o.config->access, &set, info);
    if (e == ERR_OK) {
        certset_clear(&s->current);
        s->current = set;
    }
    sk_X509_pop_free(chain, X509_free);
    EVP_PKEY_free(key);
    buf_clear(&csr);
    return e;
}

static void install(struct issuance *s, struct span pem)
{
    struct err_info info;
    s->journal.state = lifecycle_next(s->journal.state, LIFECYCLE_EV_ISSUED);
    enum err e = put_in_place(s, pem, &info);
    /* the steps between two of these go well, and each of them may cost the CA a certificate */
    s->refused = e == ERR_OK ? 0 : s->refused + 1;
    if (s->journal.attempts < s->refused)
        s->journal.attempts = s->refused;
    if (e == ERR_CRYPTO) {
        (void)err_prefix(&info, e, "the new certificate is refused, the old one stays: ");
        drop_pending(s);
        fail(s, LIFECYCLE_EV_REKEY, info.text, -1);
        return;
    }
    if (e != ERR_OK) { /* ours to mend, disk or clock: the same request gets the same certificate */
        fail(s, LIFECYCLE_EV_FAILED, info.text, -1);
        return;
    }
    s->journal.attempts = s->journal.starts = 0;
    choose_renewal(s);
    ask_within(s, ASK_SOON_S);
    succeed(s, LIFECYCLE_EV_OK);
    drop_pending(s);
    char until[CLOCK_TEXT_MAX], renew[CLOCK_TEXT_MAX];
    clock_format(s->current.not_after_s, until, sizeof until);
    clock_format(s->journal.renew_at, renew, sizeof renew);
    log_info("certificate %s is in place, good until %s, to be renewed at %s", s->current.serial,
             until, renew);
    s->o.on_certificate(s->o.arg);
}

static void on_answer(void *arg, const struct api_result *res)
{
    struct issuance *s = arg;
    const struct answer *a = &res->answer;
    s->under_way = false;
    switch (a->kind) {
    case ANSWER_OK:
        succeed(s, LIFECYCLE_EV_OK);
        return;
    case ANSWER_WAITING: {
        /* not stored: it changes nothing, and flash wears */
        int64_t pause_s = a->retry_in_s < 0 ? POLL_PAUSE_S : a->retry_in_s;
        pause_s = pause_s < 1 ? 1 : pause_s > POLL_PAUSE_MAX_S ? POLL_PAUSE_MAX_S : pause_s;
        (void)snprintf(s->detail, sizeof s->detail, "%s", a->info.text);
        s->due_ms = clock_mono_ms() + pause_s * 1000;
        schedule(s);
        tell_state(s);
        return;
    }
    case ANSWER_ISSUED:
        install(s, a->chain);
        return;
    case ANSWER_UNKNOWN:
        detour(s, LIFECYCLE_EV_UNKNOWN, a->info.text);
        return;
    case ANSWER_NO_ORDER:
        if (s->journal.state == LIFECYCLE_POLL)
            detour(s, LIFECYCLE_EV_NO_ORDER, a->info.text);
        else
            fail(s, LIFECYCLE_EV_FAILED, a->info.text, res->retry_after_s);
        return;
    case ANSWER_REFUSED:
        drop_pending(s);
        fail(s, LIFECYCLE_EV_REKEY, a->info.text, res->retry_after_s);
        return;
    case ANSWER_REKEY:
        drop_pending(s);
        detour(s, LIFECYCLE_EV_REKEY, a->info.text);
        return;
    case ANSWER_FAILED:
        fail(s, LIFECYCLE_EV_FAILED, a->info.text, res->retry_after_s);
        return;
    }
}

static void step_submit(struct issuance *s)
{
    EVP_PKEY *key = NULL;
    struct buf csr;
    buf_init(&csr, CSR_PEM_MAX);
    if (get_pending(s, &key, &csr) != ERR_OK) {
        detour(s, LIFECYCLE_EV_REKEY, "the pending key is gone");
    } else {
        s->under_way = true;
        api_submit(s->api, buf_span(&csr), on_answer, s);
    }
    EVP_PKEY_free(key);
    buf_clear(&csr);
}

static void step_poll(struct issuance *s)
{
    s->under_way = true;
    api_poll(s->api, on_answer, s);
}

/* The service's word about the certificate in place: not so late that it could end, and not again
 * and again for certificates that are hardly older than the request for them. */
static int64_t bounded_renewal(const struct issuance *s, int64_t at)
{
    int64_t life_s = s->current.not_after_s - s->current.not_before_s;
    int64_t latest = s->current.not_after_s - life_s / 8;
    int64_t rest_s = life_s / 32 < 3600 ? life_s / 32 : 3600;
    if (at > latest)
        at = latest;
    return at > s->current.not_before_s + rest_s ? at : s->current.not_before_s + rest_s;
}

/* Whether it is about the certificate in place, and noted. */
static bool take_renewal(struct issuance *s, const struct answer *a)
{
    if (s->current.chain == NULL || strcasecmp(a->serial, s->current.serial) != 0)
        return false;
    int64_t at = bounded_renewal(s, now_s(s) + a->renew_in_s);
    int64_t change_s = at - s->journal.renew_at;
    if (change_s > RENEWAL_CHANGE_S || change_s < -RENEWAL_CHANGE_S) {
        char text[CLOCK_TEXT_MAX];
        s->journal.renew_at = at;
        save(s);
        clock_format(at, text, sizeof text);
        log_info("the service wants the certificate renewed at %s (%s)", text, a->why);
    }
    s->ask_ms = clock_mono_ms() + a->next_check_in_s * 1000;
    return true;
}

void issuance_note_renewal(struct issuance *s, const struct answer *a, int64_t again_s)
{
    if (s->journal.state != LIFECYCLE_SERVE || !is_waiting(s) || !take_renewal(s, a))
        return;
    /* half as soon is soon enough, unless the service wants to be asked often */
    if (a->next_check_in_s >= again_s / 2 && a->next_check_in_s < again_s * 5 / 4)
        s->ask_ms = clock_mono_ms() + again_s * 5 / 4 * 1000;
    schedule(s);
}

static void on_renewal(void *arg, const struct api_result *res)
{
    struct issuance *s = arg;
    s->under_way = false;
    if (res->answer.kind != ANSWER_OK ||
        !take_renewal(s, &res->answer)) { /* the cloud is away, or older than this question: the
                                             lifetime decides */
        ask_within(s, ASK_AGAIN_S);
    }
    schedule(s);
}

static void step_serve(struct issuance *s)
{
    if (now_s(s) < s->journal.renew_at) {
        if (clock_mono_ms() >= s->ask_ms) {
            s->under_way = true;
            api_renewal(s->api, on_renewal, s);
        } else {
            schedule(s);
        }
        return;
    }
    log_info("the certificate is due for renewal");
    go(s, LIFECYCLE_EV_DUE, 0);
}

static void (*const STEPS[LIFECYCLE_STATE_N])(struct issuance *s) = {
    [LIFECYCLE_ENROL] = step_enrol,   [LIFECYCLE_KEY] = step_key,
    [LIFECYCLE_SUBMIT] = step_submit, [LIFECYCLE_POLL] = step_poll,
    [LIFECYCLE_SERVE] = step_serve,
};

static void on_timer(void *arg)
{
    struct issuance *s = arg;
    if (!is_waiting(s) || STEPS[s->journal.state] == NULL)
        return;
    notice_clock(s);
    if (s->journal.state != LIFECYCLE_SERVE && clock_mono_ms() < s->due_ms)
        schedule(s);
    else
        STEPS[s->journal.state](s);
}

/* ---- start ---------------------------------------------------------------------------------- */

static void set_access(const struct issuance *s)
{
    struct err_info info;
    if (certstore_set_access(state_dir(s), &s->o.config->access, &info) != ERR_OK)
        log_error("%s", info.text);
}

/* Whether a key is in use that somebody could read who may not, or not any more. */
static bool notice_exposure(const struct issuance *s)
{
    if (!certstore_is_exposed(state_dir(s), &s->o.config->access))
        return false;
    log_warn("the key in use was open to more than the configuration says: it is closed now, and "
             "gets a successor");
    return true;
}

/* Reads journal, certificate and pending key, and finds the state to go on in. */
static enum err resume(struct issuance *s, struct err_info *info)
{
    struct journal *j = &s->journal;
    const struct config *c = s->o.config;
    enum err e = journal_load(j, c->state_dir, info);
    if (e != ERR_OK)
        return e;
    struct lifecycle_facts facts = { .stored = j->state };
    if (strcmp(j->zone, c->zone) != 0 || strcmp(j->server, c->server) != 0) {
        facts.stored = LIFECYCLE_ILLEGAL;
        j->attempts = j->starts = 0;
        j->retry_at = 0;
    }
    /* noted before the files are closed, or a crash in between would forget it */
    if (notice_exposure(s) && facts.stored == LIFECYCLE_SERVE) {
        facts.stored = j->state = LIFECYCLE_KEY;
        save(s);
    }
    set_access(s);
    struct err_info why;
    e = certstore_current(c->state_dir, &c->access, &s->current, &why);
    if (e != ERR_OK && e != ERR_NOTFOUND)
        log_warn("the certificate cannot be used: %s", why.text);
    EVP_PKEY *key = NULL;
    struct buf csr;
    buf_init(&csr, CSR_PEM_MAX);
    facts.has_current = s->current.chain != NULL && strcasecmp(s->current.name, s->name) == 0;
    facts.has_pending = get_pending(s, &key, &csr) == ERR_OK;
    facts.pending_is_current = facts.has_pending && facts.has_current && is_current_key(s, key);
    EVP_PKEY_free(key);
    buf_clear(&csr);
    j->state = lifecycle_resume(&facts);
    (void)snprintf(j->zone, sizeof j->zone, "%s", c->zone);
    (void)snprintf(j->server, sizeof j->server, "%s", c->server);
    if (j->state == LIFECYCLE_SERVE)
        choose_renewal(s);
    return ERR_OK;
}

enum err issuance_new(struct issuance **out, struct loop *l, const struct issuance_options *o,
                      struct err_info *info)
{
    struct err_info untidy;
    struct issuance *s = calloc(1, sizeof *s);
    if (s == NULL)
        return err_set(info, ERR_NOMEM, "out of memory");
    s->loop = l;
    s->o = *o;
    (void)snprintf(s->name, sizeof s->name, "*.%s.%s", o->identity->id.text, o->config->zone);
    if (certstore_prepare(state_dir(s), &untidy) != ERR_OK)
        log_warn("%s", untidy.text); /* a full or read-only disk: what is there can be served */
    enum err e = loop_timer_new(&s->timer, l, on_timer, s);
    if (e == ERR_OK)
        e = resume(s, info);
    if (e == ERR_OK)
        e = api_new(&s->api, l, o->pool, o->config->server);
    if (e != ERR_OK) {
        issuance_free(s);
        return e == ERR_NOMEM ? err_set(info, e, "out of memory") : e;
    }
    *out = s;
    return ERR_OK;
}

void issuance_start(struct issuance *s)
{
    struct journal *j = &s->journal;
    int64_t wait_s = backoff_remaining_s(j->retry_at, now_s(s), WAIT_MAX_S);
    if (j->retry_at - now_s(s) > WAIT_MAX_S)
        wait_s = 0; /* no wait is that long: it was written under a clock that was ahead */
    s->clock_offset_s = clock_offset(s);
    s->wall_offset_s = wall_offset();
    log_info("state: %s", lifecycle_name(j->state));
    if (j->state != LIFECYCLE_SERVE) {
        /* A start in the middle of something may be a crash loop: some are free, then they wait as
         * failures do, whatever succeeds in between. */
        if (j->starts >= FREE_STARTS && wait_s == 0)
            wait_s = backoff_s(s, j->starts - FREE_STARTS + 1);
        if (j->starts < STARTS_COUNTED) {
            j->starts++;
            save(s);
        }
    }
    s->due_ms = clock_mono_ms() + wait_s * 1000;
    ask_within(s, ASK_START_S);
    schedule(s);
    tell_state(s);
}

/* ---- requests ------------------------------------------------------------------------------- */

void issuance_reconnect(struct issuance *s)
{
    if (s->forgetting || !s->under_way || STEPS[s->journal.state] == NULL)
        return;
    api_cancel(s->api);
    s->under_way = false;
    STEPS[s->journal.state](s);
}

void issuance_renew(struct issuance *s)
{
    if (s->forgetting || (s->under_way && s->journal.state != LIFECYCLE_SERVE))
        return; /* on its way already */
    api_cancel(s->api);
    s->under_way = false;
    go(s, LIFECYCLE_EV_RENEW, 0);
}

static enum err remove_all(struct issuance *s, struct err_info *info)
{
    enum err e = certstore_wipe(state_dir(s), info);
    if (e == ERR_OK)
        e = fallback_remove(state_dir(s), info);
    if (e == ERR_OK)
        e = statefile_remove(state_dir(s), STATEFILE_REPORT, info);
    if (e == ERR_OK)
        e = statefile_remove(state_dir(s), STATEFILE_JOURNAL, info);
    if (e == ERR_OK)
        e = identity_remove(state_dir(s), info); /* last: until here, forget can be repeated */
    return e;
}

static void on_deleted(void *arg, const struct api_result *res)
{
    struct issuance *s = arg;
    struct err_info info = res->answer.info;
    enum err e = ERR_OK;
    if (res->answer.kind != ANSWER_OK && res->answer.kind != ANSWER_UNKNOWN && !s->force)
        e = err_prefix(&info, ERR_UNAVAILABLE, "the service did not delete the device: ");
    if (e == ERR_OK)
        e = remove_all(s, &info);
    s->under_way = false;
    if (e == ERR_OK) {
        s->journal.state = LIFECYCLE_GONE;
        certset_clear(&s->current);
        log_info("this device is forgotten: identity, keys and certificates are removed");
    } else {
        s->forgetting = false;
        schedule(s);
    }
    s->on_forgotten(s->forget_arg, e, &info);
}

void issuance_forget(struct issuance *s, bool force,
                     void (*fn)(void *arg, enum err e, const struct err_info *info), void *arg)
{
    s->forgetting = true;
    s->force = force;
    s->on_forgotten = fn;
    s->forget_arg = arg;
    s->under_way = true;
    api_delete(s->api, on_deleted, s);
}

/* ---- facts ---------------------------------------------------------------------------------- */

const struct certset *issuance_current(const struct issuance *s)
{
    return s->current.chain != NULL ? &s->current : NULL;
}

const struct journal *issuance_journal(const struct issuance *s)
{
    return &s->journal;
}

const char *issuance_detail(const struct issuance *s)
{
    return s->detail;
}

const char *issuance_storage(const struct issuance *s)
{
    return s->storage;
}

int64_t issuance_next_at(const struct issuance *s)
{
    if (!is_waiting(s))
        return 0;
    if (s->journal.state == LIFECYCLE_SERVE)
        return s->journal.renew_at;
    int64_t wait_ms = s->due_ms - clock_mono_ms();
    return now_s(s) + (wait_ms > 0 ? wait_ms / 1000 : 0);
}

const char *issuance_name(const struct issuance *s)
{
    return s->name;
}

void issuance_note_hook(struct issuance *s, const struct hook_result *r)
{
    s->journal.hook = *r;
    save(s);
}

void issuance_set_config(struct issuance *s, const struct config *c)
{
    s->o.config = c;
    /* noted first, as at the start; outside LIFECYCLE_SERVE the successor is on its way */
    if (notice_exposure(s) && s->journal.state == LIFECYCLE_SERVE)
        issuance_renew(s);
    set_access(s);
}

void issuance_free(struct issuance *s)
{
    if (s == NULL)
        return;
    api_free(s->api);
    loop_timer_free(s->timer);
    certset_clear(&s->current);
    free(s);
}
