#include "dnsd/lane.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/store/challenge.h"

#define QUEUE_LEN 1024
#define SHARE_LEN (QUEUE_LEN / 8) /* of it for one network */
#define SHARES 4096        /* two networks have one in common rarely, and none can choose to */
#define ASKED_MAX_S 5      /* the client has asked again by now: no use in reading for it */
#define SLOW_MS 250        /* a read that took this long to fail closes the lane */
#define PROBE_MS 500       /* between reads of a closed lane */
#define LOG_EVERY_MS 60000 /* a store that stays away is logged again after this */
#define STACK_LEN (256 * 1024)

struct job {
    int64_t queued_us;
    struct query_challenge challenge;
    struct reader_return ret;
};

struct lane {
    pthread_t thread;
    pthread_mutex_t lock; /* of everything below up to the blank line */
    pthread_cond_t filled;
    bool stop;
    bool check;
    bool closed;
    int64_t probe_at_ms; /* of a closed lane */
    uint64_t head, tail; /* counts of jobs taken and queued */
    struct job queue[QUEUE_LEN];
    uint64_t seed;             /* of the choice of shares */
    uint16_t n_queued[SHARES]; /* jobs of each */
    void (*passed)(void *arg); /* to be called when head reaches mark_at */
    void *passed_arg;
    uint64_t mark_at;

    char *url;
    atomic_bool ended;
    atomic_int state; /* enum reader_state */
    _Atomic int64_t checked_ms;
    struct reader_counts counts;
    struct challenge_store *store; /* the thread's own, from here on; NULL until first asked */
    struct signer *signer;
    bool failing;
    bool joined; /* the owner's */
    int64_t logged_ms;
};

/* Says once that a store fails, once a minute that it still does, and once that it is back. */
static void note_outcome(struct lane *l, enum err e, const struct err_info *why)
{
    int64_t now_ms = clock_mono_ms();
    if (e == ERR_OK && l->failing) {
        char shown[256];
        challenge_url_show(l->url, shown, sizeof shown);
        log_info("challenge store %s: reads work again", shown);
        l->failing = false;
    } else if (e != ERR_OK && (!l->failing || now_ms - l->logged_ms >= LOG_EVERY_MS)) {
        log_warn("%s; challenge names are SERVFAIL until it can be read", why->text);
        l->failing = true;
        l->logged_ms = now_ms;
    }
}

/* Reads from the store, and opens or closes the lane by what came of it. */
static enum err read_store(struct lane *l, const char *zone, const char *id, int64_t now_s,
                           struct challenge_value values[CHALLENGE_VALUES_MAX], size_t *n)
{
    struct err_info why = { .text = "" };
    int64_t began_ms = clock_mono_ms();
    enum err e = ERR_OK;
    if (l->store == NULL)
        e = challenge_store_open(&l->store, l->url, false, &why);
    if (e == ERR_OK)
        e = challenge_get(l->store, zone, id, now_s, values, n, &why);
    int64_t ended_ms = clock_mono_ms();
    pthread_mutex_lock(&l->lock);
    l->closed = e != ERR_OK && (l->closed || ended_ms - began_ms >= SLOW_MS);
    l->probe_at_ms = ended_ms + PROBE_MS;
    pthread_mutex_unlock(&l->lock);
    note_outcome(l, e, &why);
    return e;
}

/* Reads a name that no device has. */
static void check(struct lane *l)
{
    static const char NOBODY[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    struct challenge_value values[CHALLENGE_VALUES_MAX];
    size_t n;
    enum err e = read_store(l, "invalid", NOBODY, clock_now_s(), values, &n);
    atomic_store(&l->state, e == ERR_OK ? READER_READABLE : READER_UNREADABLE);
    atomic_store(&l->checked_ms, clock_mono_ms());
}

/* Replies to a question, of a lane that is `closed` without a look at the store. */
static void serve(struct lane *l, const struct job *job, bool closed)
{
    const struct query_challenge *c = &job->challenge;
    struct challenge_value values[CHALLENGE_VALUES_MAX];
    struct span spans[CHALLENGE_VALUES_MAX];
    size_t n = 0;
    int64_t now_s = clock_now_s();
    enum reader_result result = READER_CLOSED;
    if (now_s - c->asked_at_s > ASKED_MAX_S) {
        result = READER_EXPIRED;
    } else if (!closed) {
        const char *zone = c->zone->challenges_of != NULL ? c->zone->challenges_of : c->zone->text;
        enum err e = read_store(l, zone, c->id, now_s, values, &n);
        result = e != ERR_OK ? READER_FAILED : n > 0 ? READER_VALUES : READER_NONE;
    }
    for (size_t i = 0; i < n; i++)
        spans[i] = span_str(values[i].text);
    bool known = result == READER_VALUES || result == READER_NONE;
    uint8_t reply[4 * EDNS_PAD_BLOCK]; /* the values of one name always fit, signed and padded */
    size_t len = query_end_challenge(c, known ? spans : NULL, n, l->signer, reply, sizeof reply);
    metric_add(&l->counts.results[result], 1);
    metric_observe(&l->counts.took, clock_mono_us() - job->queued_us);
    if (len == 0)
        return;
    tally_challenge_reply(&l->counts.tally[job->ret.transport], reply);
    job->ret.send(&job->ret, (struct span){ reply, len });
}

static size_t share_of(const struct lane *l, const struct query_challenge *c)
{
    uint64_t h = (c->client ^ l->seed) * 0x9e3779b97f4a7c15u;
    return (h ^ h >> 32) * 0xd6e8feb86659fd93u >> 40 & (SHARES - 1);
}

/* Until there is something to do; at most until a closed lane is to be read. */
static void wait(struct lane *l)
{
    if (!l->closed) {
        pthread_cond_wait(&l->filled, &l->lock);
        return;
    }
    const struct timespec until = { .tv_sec = (time_t)(l->probe_at_ms / 1000),
                                    .tv_nsec = (long)(l->probe_at_ms % 1000 * 1000000) };
    (void)pthread_cond_timedwait(&l->filled, &l->lock, &until);
}

static void *run(void *arg)
{
    struct lane *l = arg;
    struct job job;
    pthread_mutex_lock(&l->lock);
    while (!l->stop) {
        if (l->passed != NULL && l->head == l->mark_at) {
            void (*passed)(void *arg) = l->passed;
            void *passed_arg = l->passed_arg;
            l->passed = NULL;
            pthread_mutex_unlock(&l->lock);
            passed(passed_arg);
            pthread_mutex_lock(&l->lock);
        } else if (l->check || (l->closed && clock_mono_ms() >= l->probe_at_ms)) {
            l->check = false;
            pthread_mutex_unlock(&l->lock);
            check(l);
            pthread_mutex_lock(&l->lock);
        } else if (l->head != l->tail) {
            bool closed = l->closed;
            job = l->queue[l->head % QUEUE_LEN];
            pthread_mutex_unlock(&l->lock);
            serve(l, &job, closed);
            pthread_mutex_lock(&l->lock);
            l->n_queued[share_of(l, &job.challenge)]--;
            l->head++; /* only now: until then the view is in use */
            metric_set(&l->counts.queued, l->tail - l->head);
        } else {
            wait(l);
        }
    }
    pthread_mutex_unlock(&l->lock);
    atomic_store(&l->ended, true);
    return NULL;
}

static void lane_clear(struct lane *l)
{
    challenge_store_free(l->store);
    signer_free(l->signer);
    free(l->url);
    free(l);
}

static int start_thread(struct lane *l)
{
    pthread_attr_t attr;
    sigset_t all, before;
    int rc = pthread_attr_init(&attr);
    if (rc != 0)
        return rc;
    (void)pthread_attr_setstacksize(&attr, STACK_LEN);
    sigfillset(&all); /* signals are the main thread's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&l->thread, &attr, run, l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return rc;
}

enum err lane_new(struct lane **out, const char *url, struct err_info *info)
{
    struct lane *l = calloc(1, sizeof *l);
    if (l == NULL || (url != NULL && (l->url = strdup(url)) == NULL) ||
        signer_new(&l->signer, SIGNER_KEPT) != ERR_OK) {
        if (l != NULL)
            lane_clear(l);
        return err_set(info, ERR_NOMEM, "out of memory");
    }
    pthread_condattr_t monotonic;
    secret_random(&l->seed, sizeof l->seed);
    l->checked_ms = clock_mono_ms();
    (void)pthread_mutex_init(&l->lock, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&l->filled, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    int rc = start_thread(l);
    if (rc != 0) {
        lane_clear(l);
        return err_set(info, ERR_IO, "cannot start a thread: %s", strerror(rc));
    }
    *out = l;
    return ERR_OK;
}

void lane_stop(struct lane *l)
{
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    pthread_cond_signal(&l->filled);
    pthread_mutex_unlock(&l->lock);
}

bool lane_has_ended(const struct lane *l)
{
    return atomic_load(&l->ended);
}

void lane_end(struct lane *l)
{
    lane_stop(l);
    if (!l->joined)
        pthread_join(l->thread, NULL);
    l->joined = true;
}

void lane_free(struct lane *l)
{
    lane_end(l);
    pthread_cond_destroy(&l->filled);
    pthread_mutex_destroy(&l->lock);
    lane_clear(l);
}

const char *lane_url(const struct lane *l)
{
    return l->url;
}

bool lane_submit(struct lane *l, const struct query_challenge *challenge,
                 const struct reader_return *ret)
{
    pthread_mutex_lock(&l->lock);
    uint16_t *n_queued = &l->n_queued[share_of(l, challenge)];
    bool room = l->tail - l->head < QUEUE_LEN && *n_queued < SHARE_LEN;
    bool taken = room && !l->closed;
    if (taken) {
        (*n_queued)++;
        l->queue[l->tail % QUEUE_LEN] = (struct job){ clock_mono_us(), *challenge, *ret };
        l->tail++;
        metric_set(&l->counts.queued, l->tail - l->head);
        pthread_cond_signal(&l->filled);
    } else {
        metric_add(l->closed ? &l->counts.turned_away : &l->counts.queue_full, 1);
    }
    pthread_mutex_unlock(&l->lock);
    return taken;
}

void lane_mark(struct lane *l, void (*passed)(void *arg), void *arg)
{
    pthread_mutex_lock(&l->lock);
    l->passed = passed;
    l->passed_arg = arg;
    l->mark_at = l->tail;
    pthread_cond_signal(&l->filled);
    pthread_mutex_unlock(&l->lock);
}

void lane_check(struct lane *l)
{
    pthread_mutex_lock(&l->lock);
    l->check = true;
    pthread_cond_signal(&l->filled);
    pthread_mutex_unlock(&l->lock);
}

enum reader_state lane_last_check(const struct lane *l, int64_t *at_ms)
{
    *at_ms = atomic_load(&l->checked_ms);
    return (enum reader_state)atomic_load(&l->state);
}

static void add(struct metric *to, const struct metric *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        metric_add(&to[i], metric_get(&from[i]));
}

void lane_add_counts(const struct lane *l, struct reader_counts *sum)
{
    const struct reader_counts *c = &l->counts;
    const struct signer_counts *s = signer_counts(l->signer);
    for (size_t i = 0; i < TALLY_TRANSPORTS; i++) {
        for (size_t k = 0; k < TALLY_TYPES; k++)
            add(sum->tally[i].replies[k], c->tally[i].replies[k], TALLY_OUTCOMES);
    }
    add(sum->results, c->results, READER_RESULTS);
    add(&sum->queue_full, &c->queue_full, 1);
    add(&sum->turned_away, &c->turned_away, 1);
    add(&sum->queued, &c->queued, 1);
    add(sum->took.bucket, c->took.bucket, METRIC_BUCKETS);
    add(&sum->took.sum, &c->took.sum, 1);
    add(&sum->signatures.made, &s->made, 1);
    add(&sum->signatures.cached, &s->cached, 1);
    add(&sum->signatures.refused, &s->refused, 1);
}
