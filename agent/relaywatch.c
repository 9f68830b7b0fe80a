#include "agent/relaywatch.h"

#include <stdlib.h>
#include <unistd.h>

#include "agent/core/relayfail.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/secret.h"

#define LOOK_MS 20000 /* for one that is looked at */

struct relaywatch {
    struct relaywatch_options o;
    struct relayfail fail;
    struct loop_timer *timer; /* the next look */
    struct fetch_op *op;      /* it is under way */
};

static uint32_t random_u32(void)
{
    uint32_t n;
    secret_random(&n, sizeof n);
    return n;
}

static void plan(struct relaywatch *w)
{
    const struct relayfail_entry *next = relayfail_next(&w->fail);
    if (w->op != NULL)
        return;
    if (next == NULL) {
        loop_timer_cancel(w->timer);
        return;
    }
    int64_t wait_ms = next->look_ms - clock_mono_ms();
    loop_timer_set(w->timer, wait_ms > 0 ? wait_ms : 0);
}

static void end_look(struct relaywatch *w, bool works)
{
    bool changed = relayfail_looked(&w->fail, works, clock_mono_ms(), random_u32());
    plan(w);
    if (changed)
        w->o.on_change(w->o.arg);
}

static void on_looked(void *arg, const struct fetch_result *res)
{
    struct relaywatch *w = arg;
    w->op = NULL;
    if (res->e == ERR_OK)
        close(res->fd);
    end_look(w, res->e == ERR_OK);
}

static void on_timer(void *arg)
{
    struct relaywatch *w = arg;
    const struct relayfail_entry *next = relayfail_next(&w->fail);
    if (next != NULL &&
        fetch_connect(w->o.pool, next->control, LOOK_MS, on_looked, w, &w->op) != ERR_OK) {
        w->op = NULL;
        end_look(w, false);
    }
}

enum err relaywatch_new(struct relaywatch **out, struct loop *l, const struct relaywatch_options *o)
{
    struct relaywatch *w = calloc(1, sizeof *w);
    if (w == NULL)
        return ERR_NOMEM;
    w->o = *o;
    w->fail.unit_ms = o->unit_s * 1000;
    enum err e = loop_timer_new(&w->timer, l, on_timer, w);
    if (e != ERR_OK) {
        relaywatch_free(w);
        return e;
    }
    *out = w;
    return ERR_OK;
}

/* The list is about to change: a look that is under way may be at one that leaves it. */
static void stop_look(struct relaywatch *w)
{
    fetch_cancel(w->op);
    w->op = NULL;
}

void relaywatch_use(struct relaywatch *w, const struct relaygrant *grant)
{
    relayfail_use(&w->fail, grant);
}

void relaywatch_tried(struct relaywatch *w, bool connected)
{
    if (!relayfail_tried(&w->fail, connected, clock_mono_ms(), random_u32()))
        return;
    if (!connected)
        log_warn("relay %s: not reached for minutes: the service is asked for another one",
                 w->fail.used.name);
    stop_look(w);
    plan(w);
    w->o.on_change(w->o.arg);
}

void relaywatch_report(struct relaywatch *w, bool answered)
{
    size_t before = w->fail.n;
    relayfail_report(&w->fail, answered, clock_mono_ms());
    if (w->fail.n == before)
        return;
    stop_look(w);
    plan(w);
}

json_t *relaywatch_to_json(const struct relaywatch *w)
{
    json_t *names = w->fail.n > 0 ? json_array() : NULL;
    for (size_t i = 0; i < w->fail.n && names != NULL; i++)
        (void)json_array_append_new(names, json_string(w->fail.list[i].name));
    return names;
}

void relaywatch_free(struct relaywatch *w)
{
    if (w == NULL)
        return;
    fetch_cancel(w->op);
    loop_timer_free(w->timer);
    free(w);
}
