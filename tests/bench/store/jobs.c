/* jobs.c - how many admissions a second the store thread takes, by how many wait at the same
 * moment. `bench_jobs URL`; the store should be empty. One line of result for each number. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/net/loop.h"
#include "provisiond/store/device.h"
#include "provisiond/store/jobs.h"
#include "provisiond/store/sql.h"

#define SECONDS 3

struct bench {
    struct loop *loop;
    struct jobs *jobs;
    int64_t until_ms;
    long next, n_done, n_failed, n_waiting;
};

struct applicant {
    struct job job; /* first */
    struct bench *bench;
    char id[DEVID_LEN + 1];
};

static enum err run(struct job *j, void *ctx)
{
    struct applicant *a = (struct applicant *)j;
    struct device_request rq = { .id = a->id, .zone = "direct.example" };
    enum admission out;
    int64_t token_id;
    memcpy(rq.spki_sha256, a->id, sizeof rq.spki_sha256); /* 32 different bytes */
    return device_admit(ctx, &rq, clock_now_s(), &out, &token_id, &j->info);
}

static void submit(struct applicant *a)
{
    (void)snprintf(a->id, sizeof a->id, "%032ld", a->bench->next++);
    jobs_submit(a->bench->jobs, &a->job);
}

static void done(struct job *j, enum err e)
{
    struct applicant *a = (struct applicant *)j;
    struct bench *b = a->bench;
    b->n_done += e == ERR_OK;
    b->n_failed += e != ERR_OK;
    if (clock_mono_ms() < b->until_ms)
        submit(a);
    else if (--b->n_waiting == 0)
        loop_stop(b->loop);
}

static void measure(struct bench *b, long n_together)
{
    struct applicant *all = calloc((size_t)n_together, sizeof *all);
    if (all == NULL)
        abort();
    b->n_done = b->n_failed = 0;
    b->n_waiting = n_together;
    b->until_ms = clock_mono_ms() + SECONDS * 1000;
    for (long i = 0; i < n_together; i++) {
        all[i] = (struct applicant){ .job = { .run = run, .done = done }, .bench = b };
        submit(&all[i]);
    }
    loop_run(b->loop);
    (void)printf("%4ld at once: %6ld admissions a second, %ld failed\n", n_together,
                 b->n_done / SECONDS, b->n_failed);
    free(all);
}

int main(int argc, char **argv)
{
    static const long TOGETHER[] = { 1, 8, 64, 256 };
    struct bench b = { .next = (long)clock_now_s() * 1000000 };
    struct sql *db = NULL;
    struct err_info info = { "" };
    const char *url = argc > 1 ? argv[1] : getenv("LANYARD_TEST_POSTGRES");
    if (url == NULL)
        return 2;
    enum err e = sql_open(&db, url, &info);
    if (e == ERR_OK)
        e = loop_new(&b.loop);
    if (e == ERR_OK)
        e = jobs_new(&b.jobs, b.loop, db, NULL);
    if (e != ERR_OK) {
        (void)fprintf(stderr, "bench_jobs: %s\n", info.text);
        return 1;
    }
    for (size_t i = 0; i < ARRAY_LEN(TOGETHER); i++)
        measure(&b, TOGETHER[i]);
    jobs_free(b.jobs);
    loop_free(b.loop);
    sql_close(db);
    return 0;
}
