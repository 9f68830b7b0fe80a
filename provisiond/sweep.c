#include "provisiond/sweep.h"

#include <stdlib.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "provisiond/core/order.h"
#include "provisiond/store/order.h"

#define EVERY_MS 30000
#define FOUND_MAX 65536 /* looked at in one pass; what is left has its turn in a later one */

struct found {
    int64_t order_id;
    int64_t until; /* Unix seconds: when the last of its values ends */
};

struct sweep {
    struct jobs *orders, *values;
    struct challenge_store *challenges;
    struct loop_timer *timer;
    struct job job;
    struct buf found; /* struct found each: the orders with values, then those to clear */
    bool stopping;
};

static void submit(struct sweep *s, struct jobs *thread, enum err (*run)(struct job *j, void *ctx),
                   void (*done)(struct job *j, enum err e))
{
    s->job.run = run;
    s->job.done = done;
    if (!s->stopping)
        jobs_submit(thread, &s->job);
}

static struct sweep *sweep_of(struct job *j)
{
    return (struct sweep *)((char *)j - offsetof(struct sweep, job));
}

static struct found *found(struct sweep *s, size_t *n)
{
    *n = s->found.len / sizeof(struct found);
    return (struct found *)(void *)s->found.p;
}

/* --- third: remove --- */

static enum err run_remove(struct job *j, void *ctx)
{
    struct sweep *s = sweep_of(j);
    size_t n;
    const struct found *f = found(s, &n);
    enum err e = ERR_OK;
    (void)ctx;
    for (size_t i = 0; i < n && e == ERR_OK; i++)
        e = challenge_remove(s->challenges, f[i].order_id, f[i].until, clock_now_s(), &j->info);
    return e;
}

static void on_removed(struct job *j, enum err e)
{
    struct sweep *s = sweep_of(j);
    if (e == ERR_OK)
        log_info("removed the challenge values of %zu orders that have ended",
                 s->found.len / sizeof(struct found));
    else
        log_error("%s", j->info.text);
    if (!s->stopping)
        loop_timer_set(s->timer, EVERY_MS);
}

/* --- second: which of the orders have ended --- */

/* Keeps in the list those that own no values. An order may come to own some again before the
 * removal, in this node or another: those end later than what was found, and stay. */
static enum err run_select(struct job *j, void *ctx)
{
    struct sweep *s = sweep_of(j);
    struct order_row row;
    size_t n, kept = 0;
    struct found *f = found(s, &n);
    for (size_t i = 0; i < n; i++) {
        enum err e = order_get(ctx, f[i].order_id, &row, &j->info);
        /* an order that cannot be read keeps its values: rather one too many */
        if (e == ERR_NOTFOUND || (e == ERR_OK && !order_has_challenge(row.state)))
            f[kept++] = f[i];
    }
    s->found.len = kept * sizeof *f;
    return ERR_OK;
}

static void on_selected(struct job *j, enum err e)
{
    struct sweep *s = sweep_of(j);
    if (e != ERR_OK)
        log_error("%s", j->info.text);
    if (e == ERR_OK && s->found.len > 0)
        submit(s, s->values, run_remove, on_removed);
    else if (!s->stopping)
        loop_timer_set(s->timer, EVERY_MS);
}

/* --- first: which orders have values --- */

static void collect(void *arg, int64_t order_id, int64_t until_s)
{
    struct sweep *s = arg;
    struct found f = { order_id, until_s };
    buf_add(&s->found, &f, sizeof f); /* what is too many is left out */
}

static enum err run_list(struct job *j, void *ctx)
{
    struct sweep *s = sweep_of(j);
    (void)ctx;
    buf_clear(&s->found);
    return challenge_orders(s->challenges, collect, s, &j->info);
}

static void on_listed(struct job *j, enum err e)
{
    struct sweep *s = sweep_of(j);
    if (e != ERR_OK)
        log_error("%s", j->info.text);
    if (e == ERR_OK && s->found.len > 0)
        submit(s, s->orders, run_select, on_selected);
    else if (!s->stopping)
        loop_timer_set(s->timer, EVERY_MS);
}

static void on_timer(void *arg)
{
    struct sweep *s = arg;
    submit(s, s->values, run_list, on_listed);
}

/* --- life --- */

enum err sweep_new(struct sweep **out, struct loop *l, struct jobs *orders, struct jobs *values,
                   struct challenge_store *challenges)
{
    struct sweep *s = calloc(1, sizeof *s);
    if (s == NULL || loop_timer_new(&s->timer, l, on_timer, s) != ERR_OK) {
        free(s);
        return ERR_NOMEM;
    }
    s->orders = orders;
    s->values = values;
    s->challenges = challenges;
    buf_init(&s->found, FOUND_MAX * sizeof(struct found));
    loop_timer_set(s->timer, 0);
    *out = s;
    return ERR_OK;
}

void sweep_stop(struct sweep *s)
{
    if (s == NULL)
        return;
    s->stopping = true;
    loop_timer_cancel(s->timer);
}

void sweep_free(struct sweep *s)
{
    if (s == NULL)
        return;
    loop_timer_free(s->timer);
    buf_clear(&s->found);
    free(s);
}
