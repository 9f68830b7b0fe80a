/* jobs.h - a thread that does the blocking work of a database, one job after the other, and posts
 * each result back to the loop. What waits at the same moment shares one transaction and so one
 * fsync (group commit); a job that fails is undone alone.
 *
 * What a job may rely on: its transaction is serializable, and nothing of it is seen by others
 * before it is durable. Where another node got in its way, or the connection was lost, it was
 * undone and run() is called again, for two seconds at most; then done() gets ERR_UNAVAILABLE.
 * What it may not rely on: that ERR_UNAVAILABLE, or a further run(), means that nothing was done.
 * When the connection breaks between a commit and its answer nobody can know. So every job must be
 * harmless when it is run once more after it was done: by a fence (orders), by a number that is
 * made before the first run (claims), or because it finds its own work (admission, requests,
 * certificates). run() sets what it hands out through its own struct; it never adds to it. */
#ifndef LANYARD_PROVISIOND_STORE_JOBS_H
#define LANYARD_PROVISIOND_STORE_JOBS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/metric.h"
#include "common/net/loop.h"
#include "provisiond/store/sql.h"

struct jobs; /* opaque: one thread */

/* First member of a job: whoever submits embeds it and keeps it alive until `done`. */
struct job {
    /* On the thread, inside the transaction. What it writes through `ctx` counts once `done` is
     * called with ERR_OK. Must not touch the loop's objects. */
    enum err (*run)(struct job *j, void *ctx);
    /* On the loop: e is run's result, or ERR_UNAVAILABLE when the commit failed. */
    void (*done)(struct job *j, enum err e);
    struct err_info info; /* the sentence that goes with e */
    bool again;           /* run() was called before: its work may be there already */
    enum err e;           /* private */
    int64_t queued_us;    /* private */
    struct job *next;     /* private */
};

/* Starts the thread. With `db` jobs run inside transactions of that connection and get it as their
 * context; without, they run bare and get `ctx`. Both stay the caller's. Errors: ERR_NOMEM. */
NODISCARD enum err jobs_new(struct jobs **out, struct loop *l, struct sql *db, void *ctx);

/* Finishes what was submitted, ends the thread. Results not yet delivered are dropped. */
void jobs_free(struct jobs *js);

/* What the thread has done; it writes, any thread reads. */
struct jobs_counts {
    struct metric_histogram took_us; /* from being queued to being done, the commit included */
    struct metric_histogram group;   /* jobs that shared one transaction */
    struct metric failed;            /* transactions that could not begin or commit */
};

/* Borrowed until jobs_free(). */
const struct jobs_counts *jobs_counts(const struct jobs *js);

/* Queues a job. Loop thread. */
void jobs_submit(struct jobs *js, struct job *j);

/* Milliseconds that whoever waits for an answer waits for a job; then the answer is that the
 * database is away, though the job goes on. LANYARD_TEST_PATIENCE_MS in the environment is another
 * number of them, for tests that are not about the disk of their machine. */
int64_t jobs_patience_ms(const struct jobs *js);

#endif
