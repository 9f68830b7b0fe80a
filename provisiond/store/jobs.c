#include "provisiond/store/jobs.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "common/base/log.h"

#define BATCH_MAX 256 /* jobs in one transaction: bounds how long the write lock is held */

struct jobs {
    struct loop *loop;
    struct sql *db;
    void *ctx;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct job *first, **last; /* waiting; under mutex */
    bool stop;                 /* under mutex */
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

static void run_in_tx(struct jobs *js, struct job *batch)
{
    struct err_info info = { "" };
    enum err e = sql_begin_tx(js->db, &info);
    for (struct job *j = batch; j != NULL && e == ERR_OK; j = j->next) {
        j->e = sql_savepoint(js->db, &j->info);
        if (j->e != ERR_OK)
            continue;
        j->e = j->run(j, js->db);
        sql_savepoint_end(js->db, j->e == ERR_OK);
    }
    if (e == ERR_OK)
        e = sql_commit(js->db, &info);
    if (e == ERR_OK)
        return;
    log_error("%s", info.text);
    for (struct job *j = batch; j != NULL; j = j->next) {
        j->e = ERR_UNAVAILABLE;
        j->info = info;
    }
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
        while (batch != NULL) {
            struct job *next = batch->next; /* the job is the submitter's once it is posted */
            while (loop_post(js->loop, deliver, batch) != ERR_OK)
                log_error("out of memory: a database result waits");
            batch = next;
        }
    }
    return NULL;
}

enum err jobs_new(struct jobs **out, struct loop *l, struct sql *db, void *ctx)
{
    struct jobs *js = calloc(1, sizeof *js);
    if (js == NULL)
        return ERR_NOMEM;
    *js = (struct jobs){ .loop = l, .db = db, .ctx = ctx };
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

void jobs_submit(struct jobs *js, struct job *j)
{
    j->next = NULL;
    j->e = ERR_OK;
    j->info.text[0] = 0;
    pthread_mutex_lock(&js->mutex);
    *js->last = j;
    js->last = &j->next;
    pthread_cond_signal(&js->wake);
    pthread_mutex_unlock(&js->mutex);
}
