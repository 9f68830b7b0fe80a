#include "provisiond/health.h"

#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "provisiond/store/node.h"

#define TICK_MS 1000
#define CHECK_MS 5000    /* between looks at the stores */
#define STALE_MS 15000   /* a look that takes longer is no look */
#define STALL_MS 30000   /* longer than any time limit of a database statement */
#define PROBE_ORDER (-1) /* no order has this number */

/* A look at a database, on its thread. */
struct probe {
    struct job job;
    struct health *health;
    bool under_way, done_once;
    int64_t began_ms;
    enum err result[CONFIG_LIST_MAX]; /* of each zone; of the main database the first */
};

struct health {
    struct health_parts parts;
    struct loop_timer *timer;
    int64_t tick_ms;
    bool alive, stopping;
    struct probe store, challenges;
};

/* A write, because a full disk or a read-only replica answers every question. */
static enum err run_store(struct job *j, void *ctx)
{
    struct probe *p = (struct probe *)j;
    return node_touch(ctx, p->health->parts.config->node, clock_now_s(), &j->info);
}

static void on_store(struct job *j, enum err e)
{
    struct probe *p = (struct probe *)j;
    p->under_way = false;
    p->done_once = true;
    p->result[0] = e;
}

static enum err run_challenges(struct job *j, void *ctx)
{
    struct probe *p = (struct probe *)j;
    const struct health_parts *parts = &p->health->parts;
    (void)ctx;
    for (size_t i = 0; i < parts->config->n_zones; i++) {
        struct challenge_store *s = engine_challenges(parts->engine, i);
        p->result[i] = s == NULL
                           ? ERR_OK
                           : challenge_remove(s, PROBE_ORDER, INT64_MAX, clock_now_s(), &j->info);
    }
    return ERR_OK;
}

static void on_challenges(struct job *j, enum err e)
{
    struct probe *p = (struct probe *)j;
    (void)e;
    p->under_way = false;
    p->done_once = true;
}

static void look(struct probe *p, struct jobs *thread, int64_t now_ms)
{
    if (p->under_way || (p->done_once && now_ms - p->began_ms < CHECK_MS))
        return;
    p->under_way = true;
    p->began_ms = now_ms;
    jobs_submit(thread, &p->job);
}

static bool is_stalled(const struct probe *p, int64_t now_ms)
{
    return p->under_way && now_ms - p->began_ms >= STALL_MS;
}

static void on_tick(void *arg)
{
    struct health *h = arg;
    int64_t now_ms = clock_mono_ms();
    if (h->stopping)
        return;
    loop_timer_set(h->timer, h->tick_ms);
    look(&h->store, h->parts.store, now_ms);
    look(&h->challenges, engine_challenge_jobs(h->parts.engine), now_ms);
    bool alive = !is_stalled(&h->store, now_ms) && !is_stalled(&h->challenges, now_ms);
    if (!alive && h->alive)
        log_error("a database thread has not answered for %d ms", STALL_MS);
    else if (alive && !h->alive)
        log_info("all threads answer again");
    h->alive = alive;
    if (alive && h->parts.notify->watchdog_ms > 0)
        notify_alive(h->parts.notify);
}

enum err health_new(struct health **out, const struct health_parts *parts)
{
    struct health *h = calloc(1, sizeof *h);
    if (h == NULL)
        return ERR_NOMEM;
    h->parts = *parts;
    h->alive = true;
    h->store = (struct probe){ .job = { .run = run_store, .done = on_store }, .health = h };
    h->challenges =
        (struct probe){ .job = { .run = run_challenges, .done = on_challenges }, .health = h };
    int64_t third_ms = parts->notify->watchdog_ms / 3;
    h->tick_ms = third_ms > 0 && third_ms < TICK_MS ? third_ms : TICK_MS;
    if (loop_timer_new(&h->timer, parts->loop, on_tick, h) != ERR_OK) {
        free(h);
        return ERR_NOMEM;
    }
    on_tick(h);
    *out = h;
    return ERR_OK;
}

void health_stop(struct health *h)
{
    if (h == NULL)
        return;
    h->stopping = true;
    loop_timer_cancel(h->timer);
}

void health_free(struct health *h)
{
    if (h == NULL)
        return;
    loop_timer_free(h->timer);
    free(h);
}

bool health_is_alive(const struct health *h)
{
    return h->alive;
}

/* --- the checks --- */

/* NULL: fine. */
static const char *of_probe(const struct probe *p, size_t i, int64_t now_ms)
{
    if (!p->done_once)
        return p->under_way && now_ms - p->began_ms >= STALE_MS ? "does not answer"
                                                                : "not looked at yet";
    if (p->under_way && now_ms - p->began_ms >= STALE_MS)
        return "does not answer";
    return p->result[i] == ERR_OK ? NULL : "cannot be written";
}

static const char *of_certificate(const struct owncert *o)
{
    int64_t now = clock_now_s();
    if (now < o->not_before_s)
        return "the listeners' certificate is not valid yet";
    return now >= o->not_after_s ? "the listeners' certificate has expired" : NULL;
}

/* Devices are served their certificates whether a CA is there or not: its absence counts when a
 * certificate may be lost by it. */
static const char *of_issuers(const struct health *h, const struct config_zone *z, bool *fatal)
{
    const struct orderstats *s = engine_stats(h->parts.engine);
    int64_t now_ms = clock_mono_ms();
    for (size_t i = 0; i < z->n_issuers; i++) {
        if (!orderstats_is_away(s, z->issuers[i], now_ms))
            return NULL;
    }
    *fatal = *h->parts.at_risk > 0;
    return *fatal ? "no issuer is usable and certificates are about to expire"
                  : "no issuer is usable; no certificate is at risk yet";
}

struct writer {
    struct buf *out;
    bool first, ready;
};

static void put(struct writer *w, const char *name, const char *zone, const char *why, bool fatal)
{
    buf_add_fmt(w->out, "%s\n  {\"check\": \"%s\"", w->first ? "" : ",", name);
    if (zone != NULL) /* letters, digits, - and . only: checked with the configuration */
        buf_add_fmt(w->out, ", \"zone\": \"%s\"", zone);
    buf_add_fmt(w->out, ", \"status\": \"%s\"", why == NULL ? "pass" : fatal ? "fail" : "warn");
    if (why != NULL)
        buf_add_fmt(w->out, ", \"detail\": \"%s\"", why);
    buf_add_str(w->out, "}");
    w->first = false;
    w->ready = w->ready && (why == NULL || !fatal);
}

bool health_write_ready(const struct health *h, struct buf *out)
{
    const struct config *c = h->parts.config;
    int64_t now_ms = clock_mono_ms();
    struct buf rows;
    buf_init(&rows, 65536);
    struct writer w = { &rows, true, true };
    put(&w, "threads", NULL, h->alive ? NULL : "a database thread does not answer", true);
    put(&w, "database", NULL, of_probe(&h->store, 0, now_ms), true);
    put(&w, "certificate", NULL, of_certificate(h->parts.owncert), true);
    for (size_t i = 0; i < c->n_zones; i++) {
        bool fatal = false;
        const char *why = of_issuers(h, &c->zones[i], &fatal);
        put(&w, "issuers", c->zones[i].name, why, fatal);
        if (c->zones[i].challenges != NULL)
            put(&w, "challenges", c->zones[i].name, of_probe(&h->challenges, i, now_ms), true);
    }
    buf_add_fmt(out, "{\"ready\": %s, \"checks\": [%s\n]}\n", w.ready ? "true" : "false",
                buf_str(&rows));
    buf_clear(&rows);
    return w.ready;
}
