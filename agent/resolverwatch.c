#include "agent/resolverwatch.h"

#include <stdlib.h>
#include <string.h>

#include "agent/core/verdictview.h"
#include "agent/probe.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/secret.h"

#define WAITING_MAX 4
#define DOUBT_MS 60000
#define DOUBT_EVERY_MS (INT64_C(3600) * 1000)

/* Who asked during a look gets the next one: what that saw may be older than the question. */
struct waiting {
    struct control_req *req;
    unsigned n_looks; /* to wait for */
};

struct resolverwatch {
    struct probe *probe;
    struct loop_timer *timer;
    struct events *events;
    void (*fn)(void *arg);
    void *arg;
    int said; /* enum verdict_rebinding of the last event; -1: none yet */
    size_t n_waiting;
    struct waiting waiting[WAITING_MAX];
    struct ip public_ip;
    int64_t doubted_ms; /* monotonic; 0: never */
    uint8_t key[SIPHASH_KEY_LEN];
};

static void say(struct resolverwatch *w, const struct verdict_report *r)
{
    static const char *const TEXTS[] = {
        [REBINDING_UNKNOWN] = "no resolver could be judged",
        [REBINDING_NO] = "the resolvers let private addresses pass",
        [REBINDING_YES] = "the resolvers keep private addresses back",
        [REBINDING_MIXED] = "some resolvers keep private addresses back",
    };
    if (r->n == 0 || (int)r->rebinding == w->said)
        return;
    w->said = (int)r->rebinding;
    log_info("%s", TEXTS[r->rebinding]);
    events_add(w->events, clock_now_s(), "%s", TEXTS[r->rebinding]);
}

static void answer_waiting(struct resolverwatch *w)
{
    size_t n = 0;
    for (size_t i = 0; i < w->n_waiting; i++) {
        struct waiting *one = &w->waiting[i];
        if (--one->n_looks == 0)
            control_reply(one->req, resolverwatch_detail(w));
        else
            w->waiting[n++] = *one;
    }
    w->n_waiting = n;
}

static void on_looked(void *arg)
{
    struct resolverwatch *w = arg;
    const struct verdict_report *r = probe_report(w->probe);
    loop_timer_set(w->timer, verdict_lasts_s(r) * 1000);
    if (r != NULL)
        say(w, r);
    answer_waiting(w);
    w->fn(w->arg);
}

static void on_timer(void *arg)
{
    resolverwatch_look(arg);
}

void resolverwatch_look(struct resolverwatch *w)
{
    probe_start(w->probe);
}

void resolverwatch_doubt(struct resolverwatch *w)
{
    int64_t now_ms = clock_mono_ms();
    if (w->doubted_ms != 0 && now_ms - w->doubted_ms < DOUBT_EVERY_MS)
        return;
    w->doubted_ms = now_ms;
    loop_timer_set(w->timer, DOUBT_MS);
}

void resolverwatch_answer(struct resolverwatch *w, struct control_req *req)
{
    if (w->n_waiting == WAITING_MAX) {
        control_reply(req, json_pack("{ss}", "error", "too many ask at once"));
        return;
    }
    unsigned n_looks = probe_is_running(w->probe) ? 2 : 1;
    w->waiting[w->n_waiting++] = (struct waiting){ req, n_looks };
    probe_start(w->probe);
}

json_t *resolverwatch_detail(const struct resolverwatch *w)
{
    const struct verdict_report *r = probe_report(w->probe);
    bool running = probe_is_running(w->probe);
    return r != NULL ? verdict_detail(r, running) : json_pack("{sb}", "running", running);
}

json_t *resolverwatch_to_json(const struct resolverwatch *w)
{
    const struct verdict_report *r = probe_report(w->probe);
    return r != NULL ? verdict_to_json(r, w->key) : NULL;
}

void resolverwatch_set_config(struct resolverwatch *w, const struct config *config)
{
    probe_set_config(w->probe, config);
}

void resolverwatch_set_public(struct resolverwatch *w, const struct ip *ip, const char *label)
{
    bool news = memcmp(&w->public_ip, ip, sizeof *ip) != 0;
    w->public_ip = *ip;
    probe_set_public(w->probe, ip, label);
    if (news)
        probe_start(w->probe);
}

enum err resolverwatch_new(struct resolverwatch **out, struct loop *l, const struct config *config,
                           const char *id, struct events *events, void (*fn)(void *arg), void *arg)
{
    struct resolverwatch *w = calloc(1, sizeof *w);
    if (w == NULL)
        return ERR_NOMEM;
    w->events = events;
    w->fn = fn;
    w->arg = arg;
    w->said = -1;
    secret_random(w->key, sizeof w->key);
    enum err e = probe_new(&w->probe, l, config, id, on_looked, w);
    if (e == ERR_OK)
        e = loop_timer_new(&w->timer, l, on_timer, w);
    if (e != ERR_OK) {
        resolverwatch_free(w);
        return e;
    }
    *out = w;
    return ERR_OK;
}

void resolverwatch_free(struct resolverwatch *w)
{
    if (w == NULL)
        return;
    probe_free(w->probe);
    loop_timer_free(w->timer);
    free(w);
}
