#include "provisiond/store/jobs.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"

#define BATCH_MAX 256    /* jobs in one transaction: bounds how long the write lock is held */
#define PATIENCE_MS 1800 /* a device or a person is told within two seconds */

struct jobs {
    struct loop *loop;
    struct sql *db;
    void *ctx;
    int64_t patience_ms;
    struct jobs_counts counts;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct job *first, **last; /* waiting; under mutex */
    bool stop;                 /* under mutex */
    bool away;                 /* the database was, at the last look; the thread's own */
};

static struct job *take_batch(struct jobs *js)
{
    pthread_mutex_lock(&js->mutex);
    while (js->first == NULL && !js->stop)
        pthread_cond_wait(&js->wake, &js->mutex);
    struct job *batch = js->first, *j = batch;
    for (unsigned n = 1; j != NULL && n < BATCH_MAX && j->next != NULL; n++)
        j = j->next;
    if (j != NULL) {
        js->first = j->next;
        j->next = NULL;
        if (js->first == NULL)
            js->last = &js->first;
    }
    pthread_mutex_unlock(&js->mutex);
    return batch;
}

/* One job in a transaction of its own. */
static enum err run_job(void *arg, struct sql *db, struct err_info *info)
{
    struct job *j = arg;
    j->info.text[0] = 0;
    enum err e = j->run(j, db);
    j->again = true;
    *info = j->info;
    return e;
}

static bool run_alone(struct jobs *js, struct job *j)
{
    struct err_info info = { "" };
    j->e = sql_transact(js->db, run_job, j, &info);
    j->info = info;
    return j->e != ERR_UNAVAILABLE;
}

/* One job of several in a transaction. */
static void run_shared(struct jobs *js, struct job *j)
{
    j->e = sql_savepoint(js->db, &j->info);
    if (j->e != ERR_OK)
        return;
    j->e = j->run(j, js->db);
    j->again = true;
    if (j->e == ERR_OK)
        j->e = sql_savepoint_end(js->db, true, &j->info);
    if (j->e != ERR_OK && sql_savepoint_end(js->db, false, NULL) != ERR_OK)
        j->e = ERR_UNAVAILABLE; /* the transaction is lost, which its commit finds out */
}

static enum err run_together(struct jobs *js, struct job *batch, struct err_info *info)
{
    enum err e = sql_begin_tx(js->db, info);
    if (e != ERR_OK)
        return e;
    for (struct job *j = batch; j != NULL && !sql_may_retry(js->db); j = j->next)
        run_shared(js, j);
    if (!sql_may_retry(js->db))
        return sql_commit(js->db, info);
    sql_rollback(js->db);
    return ERR_UNAVAILABLE;
}

static void fail_all(struct job *batch, const struct err_info *info)
{
    for (struct job *j = batch; j != NULL; j = j->next) {
        j->e = ERR_UNAVAILABLE;
        j->info = *info;
    }
}

/* Says so when the database goes, and when it is back, not for each job in between. */
static void note_state(struct jobs *js, bool away, const struct err_info *info)
{
    metric_add(&js->counts.failed, away);
    if (away && !js->away)
        log_error("%s", info->text);
    else if (!away && js->away)
        log_info("the database takes changes again");
    js->away = away;
}

/* Together first. What got into another node's way is done again one by one: each is then short,
 * and touches little; when one finds the database gone the rest do not try. */
static void run_in_tx(struct jobs *js, struct job *batch)
{
    struct err_info info = { "" };
    if (batch->next != NULL) {
        enum err e = run_together(js, batch, &info);
        if (e != ERR_OK && !sql_may_retry(js->db))
            fail_all(batch, &info);
        if (e == ERR_OK || !sql_may_retry(js->db)) {
            note_state(js, e != ERR_OK, &info);
            return;
        }
    }
    for (struct job *j = batch; j != NULL; j = j->next) {
        bool there = run_alone(js, j);
        note_state(js, !there, &j->info);
        if (!there && sql_may_retry(js->db)) {
            fail_all(j, &j->info);
            return;
        }
    }
}

static void count(struct jobs *js, const struct job *batch)
{
    int64_t n = 0, now_us = clock_mono_us();
    for (const struct job *j = batch; j != NULL; j = j->next, n++)
        metric_observe(&js->counts.took_us, now_us - j->queued_us);
    metric_observe(&js->counts.group, n);
}

static void deliver(void *arg)
{
    struct job *j = arg;
    j->done(j, j->e);
}

static void *thread_main(void *arg)
{
    struct jobs *js = arg;
    struct job *batch;
    while ((batch = take_batch(js)) != NULL) {
        if (js->db != NULL)
            run_in_tx(js, batch);
        else
            for (struct job *j = batch; j != NULL; j = j->next)
                j->e = j->run(j, js->ctx);
        count(js, batch);
        while (batch != NULL) {
            struct job *next = batch->next; /* the job is the submitter's once it is posted */
            while (loop_post(js->loop, deliver, batch) != ERR_OK)
                log_error("out of memory: a database result waits");
            batch = next;
        }
    }
    return NULL;
}

static int64_t patience_ms(void)
{
    const char *text = getenv("LANYARD_TEST_PATIENCE_MS");
    long long ms = text != NULL ? strtoll(text, NULL, 10) : 0;
    return ms > 0 ? (int64_t)ms : PATIENCE_MS;
}

enum err jobs_new(struct jobs **out, struct loop *l, struct sql *db, void *ctx)
{
    struct jobs *js = calloc(1, sizeof *js);
    if (js == NULL)
        return ERR_NOMEM;
    *js = (struct jobs){ .loop = l, .db = db, .ctx = ctx, .patience_ms = patience_ms() };
    js->last = &js->first;
    pthread_mutex_init(&js->mutex, NULL);
    pthread_cond_init(&js->wake, NULL);
    if (pthread_create(&js->thread, NULL, thread_main, js) != 0) {
        free(js);
        return ERR_NOMEM;
    }
    *out = js;
    return ERR_OK;
}

void jobs_free(struct jobs *js)
{
    if (js == NULL)
        return;
    pthread_mutex_lock(&js->mutex);
    js->stop = true;
    pthread_cond_signal(&js->wake);
    pthread_mutex_unlock(&js->mutex);
    pthread_join(js->thread, NULL);
    pthread_cond_destroy(&js->wake);
    pthread_mutex_destroy(&js->mutex);
    free(js);
}

const struct jobs_counts *jobs_counts(const struct jobs *js)
{
    return &js->counts;
}

int64_t jobs_patience_ms(const struct jobs *js)
{
    return js->patience_ms;
}

void jobs_submit(struct jobs *js, struct job *j)
{
    j->next = NULL;
    j->again = false;
    j->e = ERR_OK;
    j->info.text[0] = 0;
    j->queued_us = clock_mono_us();
    pthread_mutex_lock(&js->mutex);
    *js->last = j;
    js->last = &j->next;
    pthread_cond_signal(&js->wake);
    pthread_mutex_unlock(&js->mutex);
}
