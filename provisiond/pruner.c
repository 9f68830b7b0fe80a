#include "provisiond/pruner.h"

#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "provisiond/store/prune.h"
#include "provisiond/store/report.h"

#define KEEP_S ((int64_t)90 * 86400) /* after the end of an order, and of its certificate */
#define PIECE_MS 5000                /* between two pieces: 400 orders a second */
#define REPORTS_N 1000               /* at most, in a piece */
#define ROUND_MS 3600000             /* after the last piece */

struct pruner {
    struct job job; /* first */
    struct jobs *store;
    struct loop_timer *timer;
    int64_t after, next, n_removed; /* where this piece begins, and the next one */
    int64_t n_reports;
};

static enum err run(struct job *j, void *ctx)
{
    struct pruner *p = (struct pruner *)j;
    p->next = p->after;
    p->n_removed = 0;
    p->n_reports = 0;
    enum err e = prune_orders(ctx, clock_now_s() - KEEP_S, &p->next, &p->n_removed, &j->info);
    if (e == ERR_OK)
        e = report_prune(ctx, clock_now_s() - KEEP_S, REPORTS_N, &p->n_reports, &j->info);
    return e;
}

static void done(struct job *j, enum err e)
{
    struct pruner *p = (struct pruner *)j;
    if (e != ERR_OK)
        log_warn("old orders could not be removed: %s", j->info.text);
    else
        p->after = p->next;
    if (e == ERR_OK && p->n_removed > 0)
        log_info("removed %lld orders that ended long ago", (long long)p->n_removed);
    if (e == ERR_OK && p->n_reports > 0)
        log_info("removed %lld reports and addresses of devices that are silent for long",
                 (long long)p->n_reports);
    bool again = p->after != 0 || (e == ERR_OK && p->n_reports >= REPORTS_N);
    loop_timer_set(p->timer, again ? PIECE_MS : ROUND_MS);
}

static void on_timer(void *arg)
{
    struct pruner *p = arg;
    jobs_submit(p->store, &p->job);
}

enum err pruner_new(struct pruner **out, struct loop *l, struct jobs *store)
{
    struct pruner *p = calloc(1, sizeof *p);
    if (p == NULL || loop_timer_new(&p->timer, l, on_timer, p) != ERR_OK) {
        free(p);
        return ERR_NOMEM;
    }
    p->job = (struct job){ .run = run, .done = done };
    p->store = store;
    loop_timer_set(p->timer, PIECE_MS);
    *out = p;
    return ERR_OK;
}

void pruner_free(struct pruner *p)
{
    if (p == NULL)
        return;
    loop_timer_free(p->timer);
    free(p);
}
