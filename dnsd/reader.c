#include "dnsd/reader.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/store/challenge.h"

#define QUEUE_LEN 1024
#define SHARE_LEN (QUEUE_LEN / 8) /* of it for one network */
#define SHARES 4096        /* two networks have one in common rarely, and none can choose to */
#define ASKED_MAX_S 5      /* the client has asked again by now: no use in reading for it */
#define LOG_EVERY_MS 60000 /* a store that stays away is logged again after this */
#define STACK_LEN (256 * 1024)

const char *const READER_RESULT_NAMES[] = { "values", "none", "failed", "expired" };

struct job {
    int64_t queued_us;
    struct query_challenge challenge;
    struct reader_return ret;
};

/* One store, opened when it is first asked for. */
struct source {
    struct source *next;
    char *url;
    struct challenge_store *store;
    bool failing;
    int64_t logged_ms;
};

struct reader {
    pthread_t thread;
    pthread_mutex_t lock; /* of everything below up to the blank line */
    pthread_cond_t filled;
    bool stop;
    uint64_t head, tail; /* counts of jobs taken and queued */
    struct job queue[QUEUE_LEN];
    uint64_t seed;              /* of the choice of shares */
    uint16_t n_queued[SHARES];  /* jobs of each */
    struct view_change *change; /* to be released when head reaches change_at */
    uint64_t change_at;
    void (*released)(struct view_change *change);
    const struct view *check; /* whose stores to look at; NULL for none */

    atomic_int state; /* enum reader_state */
    _Atomic int64_t checked_ms;
    struct reader_counts counts;
    struct source *sources; /* the thread's own */
    struct signer *signer;
};

static void source_free(struct source *s)
{
    challenge_store_free(s->store);
    free(s->url);
    free(s);
}

/* The source of `url`, opened where needed; NULL when that fails. */
static struct source *source_find(struct reader *r, const char *url)
{
    for (struct source *s = r->sources; s != NULL; s = s->next) {
        if (strcmp(s->url, url) == 0)
            return s;
    }
    struct err_info why = { .text = "out of memory" };
    struct source *s = calloc(1, sizeof *s);
    if (s == NULL || (s->url = strdup(url)) == NULL ||
        challenge_store_open(&s->store, url, false, &why) != ERR_OK) {
        log_error("cannot open the challenge store: %s", why.text);
        if (s != NULL)
            source_free(s);
        return NULL;
    }
    s->next = r->sources;
    r->sources = s;
    return s;
}

/* Says once that a store fails, once a minute that it still does, and once that it is back. */
static void note_outcome(struct source *s, enum err e, const struct err_info *why)
{
    int64_t now_ms = clock_mono_ms();
    if (e == ERR_OK && s->failing) {
        char shown[256];
        challenge_url_show(s->url, shown, sizeof shown);
        log_info("challenge store %s: reads work again", shown);
        s->failing = false;
    } else if (e != ERR_OK && (!s->failing || now_ms - s->logged_ms >= LOG_EVERY_MS)) {
        log_warn("%s; challenge names are SERVFAIL until it can be read", why->text);
        s->failing = true;
        s->logged_ms = now_ms;
    }
}

static void serve(struct reader *r, const struct job *job)
{
    const struct query_challenge *c = &job->challenge;
    struct challenge_value values[CHALLENGE_VALUES_MAX];
    struct span spans[CHALLENGE_VALUES_MAX];
    size_t n = 0;
    enum err e = ERR_TIMEOUT;
    int64_t now_s = clock_now_s();
    struct source *s =
        now_s - c->asked_at_s > ASKED_MAX_S ? NULL : source_find(r, c->zone->challenges);
    if (s != NULL) {
        struct err_info why = { .text = "" };
        const char *zone = c->zone->challenges_of != NULL ? c->zone->challenges_of : c->zone->text;
        e = challenge_get(s->store, zone, c->id, now_s, values, &n, &why);
        note_outcome(s, e, &why);
    }
    for (size_t i = 0; e == ERR_OK && i < n; i++)
        spans[i] = span_str(values[i].text);
    uint8_t reply[DNS_EDNS_LEN]; /* the values of one name always fit */
    size_t len =
        query_end_challenge(c, e == ERR_OK ? spans : NULL, n, r->signer, reply, sizeof reply);
    enum reader_result result = e == ERR_TIMEOUT && s == NULL ? READER_EXPIRED
                                : e != ERR_OK                 ? READER_FAILED
                                : n > 0                       ? READER_VALUES
                                                              : READER_NONE;
    metric_add(&r->counts.results[result], 1);
    metric_observe(&r->counts.took, clock_mono_us() - job->queued_us);
    if (len == 0)
        return;
    tally_challenge_reply(&r->counts.tally[job->ret.transport], reply);
    job->ret.send(&job->ret, (struct span){ reply, len });
}

static bool view_names(const struct view *v, const char *url)
{
    for (size_t i = 0; i < v->n_zones; i++) {
        if (v->zones[i]->challenges != NULL && strcmp(v->zones[i]->challenges, url) == 0)
            return true;
    }
    return false;
}

static void release(struct reader *r, struct view_change *change,
                    void (*released)(struct view_change *change))
{
    for (struct source **p = &r->sources; *p != NULL;) {
        struct source *s = *p;
        if (view_names(change->view, s->url)) {
            p = &s->next;
        } else {
            *p = s->next;
            source_free(s);
        }
    }
    view_retire(change->old, change->view);
    released(change);
}

/* Reads a name that no device has from each store. */
static void check(struct reader *r, const struct view *v)
{
    static const char NOBODY[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    struct challenge_value values[CHALLENGE_VALUES_MAX];
    bool ok = true;
    for (size_t i = 0; i < v->n_zones && ok; i++) {
        const struct zone *z = v->zones[i];
        if (z->challenges == NULL)
            continue;
        struct err_info why = { .text = "" };
        size_t n;
        struct source *s = source_find(r, z->challenges);
        if (s == NULL) {
            ok = false;
            continue;
        }
        enum err e = challenge_get(s->store, z->text, NOBODY, clock_now_s(), values, &n, &why);
        note_outcome(s, e, &why);
        ok = e == ERR_OK;
    }
    atomic_store(&r->state, ok ? READER_READABLE : READER_UNREADABLE);
    atomic_store(&r->checked_ms, clock_mono_ms());
}

static size_t share_of(const struct reader *r, const struct query_challenge *c)
{
    uint64_t h = (c->client ^ r->seed) * 0x9e3779b97f4a7c15u;
    return (h ^ h >> 32) * 0xd6e8feb86659fd93u >> 40 & (SHARES - 1);
}

static void *run(void *arg)
{
    struct reader *r = arg;
    struct job job;
    pthread_mutex_lock(&r->lock);
    while (!r->stop) {
        if (r->change != NULL && r->head == r->change_at) {
            struct view_change *change = r->change;
            r->change = NULL;
            if (r->check == change->old)
                r->check = NULL;
            pthread_mutex_unlock(&r->lock);
            release(r, change, r->released);
            pthread_mutex_lock(&r->lock);
        } else if (r->check != NULL) {
            const struct view *v = r->check;
            r->check = NULL;
            pthread_mutex_unlock(&r->lock);
            check(r, v);
            pthread_mutex_lock(&r->lock);
        } else if (r->head != r->tail) {
            job = r->queue[r->head % QUEUE_LEN];
            pthread_mutex_unlock(&r->lock);
            serve(r, &job);
            pthread_mutex_lock(&r->lock);
            r->n_queued[share_of(r, &job.challenge)]--;
            r->head++; /* only now: until then the view is in use */
            metric_set(&r->counts.queued, r->tail - r->head);
        } else {
            pthread_cond_wait(&r->filled, &r->lock);
        }
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

enum err reader_new(struct reader **out, struct err_info *info)
{
    struct reader *r = calloc(1, sizeof *r);
    pthread_attr_t attr;
    if (r == NULL || signer_new(&r->signer, SIGNER_KEPT) != ERR_OK ||
        pthread_attr_init(&attr) != 0) {
        if (r != NULL)
            signer_free(r->signer);
        free(r);
        return err_set(info, ERR_NOMEM, "out of memory");
    }
    r->counts.signatures = signer_counts(r->signer);
    secret_random(&r->seed, sizeof r->seed);
    (void)pthread_mutex_init(&r->lock, NULL);
    (void)pthread_cond_init(&r->filled, NULL);
    (void)pthread_attr_setstacksize(&attr, STACK_LEN);
    int rc = pthread_create(&r->thread, &attr, run, r);
    pthread_attr_destroy(&attr);
    if (rc != 0) {
        signer_free(r->signer);
        free(r);
        return err_set(info, ERR_IO, "cannot start a thread: %s", strerror(rc));
    }
    *out = r;
    return ERR_OK;
}

void reader_free(struct reader *r)
{
    if (r == NULL)
        return;
    pthread_mutex_lock(&r->lock);
    r->stop = true;
    pthread_cond_signal(&r->filled);
    pthread_mutex_unlock(&r->lock);
    pthread_join(r->thread, NULL);
    while (r->sources != NULL) {
        struct source *s = r->sources;
        r->sources = s->next;
        source_free(s);
    }
    signer_free(r->signer);
    pthread_cond_destroy(&r->filled);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

bool reader_submit(struct reader *r, const struct query_challenge *challenge,
                   const struct reader_return *ret)
{
    pthread_mutex_lock(&r->lock);
    uint16_t *n_queued = &r->n_queued[share_of(r, challenge)];
    bool room = r->tail - r->head < QUEUE_LEN && *n_queued < SHARE_LEN;
    if (room) {
        (*n_queued)++;
        r->queue[r->tail % QUEUE_LEN] = (struct job){ clock_mono_us(), *challenge, *ret };
        r->tail++;
        metric_set(&r->counts.queued, r->tail - r->head); /* both writers hold the lock */
        pthread_cond_signal(&r->filled);
    }
    pthread_mutex_unlock(&r->lock);
    return room;
}

void reader_release(struct reader *r, struct view_change *change,
                    void (*released)(struct view_change *change))
{
    pthread_mutex_lock(&r->lock);
    r->change = change;
    r->change_at = r->tail;
    r->released = released;
    pthread_cond_signal(&r->filled);
    pthread_mutex_unlock(&r->lock);
}

void reader_check(struct reader *r, const struct view *view)
{
    pthread_mutex_lock(&r->lock);
    r->check = view;
    pthread_cond_signal(&r->filled);
    pthread_mutex_unlock(&r->lock);
}

enum reader_state reader_last_check(const struct reader *r, int64_t *at_ms)
{
    *at_ms = atomic_load(&r->checked_ms);
    return (enum reader_state)atomic_load(&r->state);
}

const struct reader_counts *reader_counts(const struct reader *r)
{
    return &r->counts;
}
