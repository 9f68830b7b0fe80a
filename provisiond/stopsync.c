#include "provisiond/stopsync.h"

#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "provisiond/store/stopped.h"

#define EVERY_MS 10000

struct stopsync {
    struct job job; /* first */
    const struct config *config;
    struct jobs *store;
    struct loop_timer *timer;
    unsigned n_changed;
};

static enum err run(struct job *j, void *ctx)
{
    struct stopsync *s = (struct stopsync *)j;
    enum err first = ERR_OK;
    s->n_changed = 0;
    for (size_t i = 0; i < s->config->n_zones; i++) {
        const struct config_zone *z = &s->config->zones[i];
        bool changed = false;
        if (z->suspended == NULL)
            continue;
        enum err e = stopped_write(ctx, z->name, z->suspended, clock_now_s(), &changed,
                                   first == ERR_OK ? &j->info : NULL);
        first = first == ERR_OK ? e : first; /* one bad folder does not keep the others back */
        s->n_changed += changed && e == ERR_OK;
    }
    return first;
}

static void done(struct job *j, enum err e)
{
    struct stopsync *s = (struct stopsync *)j;
    if (e != ERR_OK)
        log_error("cannot write the list of suspended devices: %s", j->info.text);
    else if (s->n_changed > 0)
        log_info("the list of suspended devices was written anew");
    loop_timer_set(s->timer, EVERY_MS);
}

static void on_timer(void *arg)
{
    struct stopsync *s = arg;
    s->job.run = run;
    s->job.done = done;
    jobs_submit(s->store, &s->job);
}

enum err stopsync_new(struct stopsync **out, struct loop *l, const struct config *config,
                      struct jobs *store)
{
    bool any = false;
    for (size_t i = 0; i < config->n_zones; i++)
        any = any || config->zones[i].suspended != NULL;
    struct stopsync *s = calloc(1, sizeof *s);
    if (s == NULL || loop_timer_new(&s->timer, l, on_timer, s) != ERR_OK) {
        free(s);
        return ERR_NOMEM;
    }
    s->config = config;
    s->store = store;
    if (any)
        loop_timer_set(s->timer, 0);
    *out = s;
    return ERR_OK;
}

void stopsync_free(struct stopsync *s)
{
    if (s == NULL)
        return;
    loop_timer_free(s->timer);
    free(s);
}
