#include "agent/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/address.h"
#include "agent/api.h"
#include "agent/core/backoff.h"
#include "agent/core/pace.h"
#include "agent/interfaces.h"
#include "agent/reportfile.h"
#include "agent/timekeeper.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/secret.h"

#define DEBOUNCE_MS 300  /* several changes at a time are one report */
#define WAIT_MAX_S 86400 /* no failure parks us for longer, whatever was said or stored */
#define QUICK_N 2        /* after a change: what leads to the service may come up a little later */
#define QUICK_MS 2000    /* the first of these, the second five times as long */
#define WAYS_N 2

enum { FOUR, SIX }; /* indices of ways, and with 1 << their masks */

struct way {
    struct report *report;
    int family;
    struct api *api;
    bool under_way;
    int64_t tried_ms;   /* monotonic; 0: never */
    struct ip observed; /* family 0: did not get through */
};

struct report {
    struct loop *loop;
    struct report_options o;
    struct loop_timer *timer;
    struct way ways[WAYS_N];
    struct reportfile file; /* tags, and the wait after failures */
    char *tried;            /* body and gateway of the last report, whatever came of it */
    bool enrolled, alive;   /* alive: this round got through */
    bool changed;           /* since the round began: the timer stands for the next one */
    bool was_noted;         /* the report of this start */
    int64_t begun_ms;       /* of the last round, monotonic; 0: never */
    int64_t start_ms;       /* none before, monotonic: the wait of a start after many */
    unsigned round, todo;   /* masks: what this round tried; what the timer is to try */
    unsigned quick;         /* failures that wait for moments only */
    int64_t at, error_at;   /* Unix seconds; 0: never */
    struct err_info error;  /* "": the last round got through */
    struct err_info why;    /* nothing got through in this one */
    int64_t retry_after_s;  /* the most that a way was told; -1: nothing */
    int64_t next_at;        /* Unix seconds */
};

static uint32_t random_u32(void)
{
    uint32_t n;
    secret_random(&n, sizeof n);
    return n;
}

static int64_t now_s(const struct report *r)
{
    return timekeeper_now_s(r->o.time);
}

static void plan(struct report *r, int64_t wait_ms, unsigned todo)
{
    r->todo = todo;
    r->next_at = now_s(r) + wait_ms / 1000;
    loop_timer_set(r->timer, wait_ms);
}

static void save(struct report *r)
{
    struct err_info info;
    if (reportfile_save(&r->file, r->o.config, r->o.id->text, &info) != ERR_OK)
        log_warn("%s", info.text); /* goes on in memory */
}

/* What holds whatever has changed: the least time between reports, the wait of a start after many,
 * and the word of a service that is busy. */
static int64_t wait_at_least_ms(const struct report *r, int64_t wait_ms)
{
    int64_t now_ms = clock_mono_ms(), busy_s = r->file.busy_until - now_s(r);
    int64_t least_ms = r->begun_ms + pace_least_ms(r->o.config->retry_s) - now_ms;
    if (r->begun_ms != 0 && wait_ms < least_ms)
        wait_ms = least_ms;
    if (wait_ms < r->start_ms - now_ms)
        wait_ms = r->start_ms - now_ms;
    if (busy_s > PACE_BUSY_MAX_S)
        busy_s = 0; /* written under a clock that was ahead */
    return wait_ms < busy_s * 1000 ? busy_s * 1000 : wait_ms;
}

static void plan_after_change(struct report *r)
{
    plan(r, wait_at_least_ms(r, DEBOUNCE_MS), 1u << FOUR | 1u << SIX);
}

static bool note_print(struct report *r);

/* ---- the end of a round ----------------------------------------------------------------------
 */

/* The way that was not tried for longest: each proves its address twice a day. */
static unsigned next_way(const struct report *r)
{
    return r->ways[SIX].tried_ms < r->ways[FOUR].tried_ms ? 1u << SIX : 1u << FOUR;
}

static void end_well(struct report *r)
{
    bool was_bad = r->file.attempts > 0;
    int64_t every_ms = r->file.reported.next_report_s * 1000;
    r->file.attempts = 0;
    r->file.retry_at = 0;
    r->file.busy_until = 0;
    r->quick = 0;
    r->at = now_s(r);
    r->error = (struct err_info){ "" };
    if (was_bad) {
        log_info("the service takes reports again");
        save(r);
    }
    if (r->changed)
        return;
    /* a tenth sooner by chance: a fleet that started together must not stay together */
    plan(r, every_ms - (int64_t)(random_u32() % (uint32_t)(every_ms / 10)), next_way(r));
}

static void end_badly(struct report *r)
{
    unsigned all = 1u << FOUR | 1u << SIX;
    r->error = r->why;
    r->error_at = now_s(r);
    r->o.on_failed(r->o.arg);
    (void)note_print(r); /* what was on its way and is taken back is news when it comes again */
    if (r->retry_after_s >= 0)
        r->file.busy_until =
            r->error_at + (r->retry_after_s < PACE_BUSY_MAX_S ? r->retry_after_s : PACE_BUSY_MAX_S);
    if (r->changed && r->retry_after_s < 0)
        return;
    if (r->quick > 0 && r->retry_after_s < 0) {
        int64_t wait_ms = r->quick == QUICK_N ? QUICK_MS : (int64_t)5 * QUICK_MS;
        r->quick--;
        plan(r, wait_at_least_ms(r, wait_ms), all);
        return;
    }
    r->file.attempts++;
    int64_t wait_s = backoff_delay_s(r->file.attempts, r->o.config->retry_s, 0, random_u32());
    if (wait_s < r->retry_after_s)
        wait_s = r->retry_after_s;
    r->file.retry_at = now_s(r) + wait_s;
    save(r);
    if (r->changed)
        plan_after_change(r);
    else
        plan(r, wait_at_least_ms(r, wait_s * 1000), all);
    if (r->file.attempts == 1)
        log_warn("the service does not know where this device is: %s; next attempt in %lld s",
                 r->error.text, (long long)wait_s);
}

static bool is_busy(const struct report *r)
{
    return r->ways[FOUR].under_way || r->ways[SIX].under_way;
}

static void send_by(struct report *r, unsigned mask);

static void end_of_way(struct report *r)
{
    unsigned all = 1u << FOUR | 1u << SIX;
    if (is_busy(r))
        return;
    if (r->alive)
        end_well(r);
    else if (r->round != all)
        send_by(r, all & ~r->round); /* the other way may be open */
    else
        end_badly(r);
}

/* ---- a round --------------------------------------------------------------------------------- */

static bool same_tags(const struct reported *a, const struct reported *b)
{
    bool same = a->n_tags == b->n_tags;
    for (size_t i = 0; same && i < a->n_tags; i++)
        same = strcmp(a->tags[i].label, b->tags[i].label) == 0;
    return same;
}

static void take(struct way *w, const struct answer *a)
{
    struct report *r = w->report;
    struct reported reported;
    if (reported_parse(&reported, a->report, r->o.id->text, r->o.config->zone) != ERR_OK)
        return;
    bool same = same_tags(&reported, &r->file.reported);
    bool fresh = r->o.config->relay && reportfile_take_relay(&r->file, a->report, now_s(r));
    w->observed = reported.observed;
    r->alive = true;
    r->file.reported = reported;
    if (!same)
        log_info("the service names %zu public addresses of this device", reported.n_tags);
    if (!same || fresh)
        save(r);
    r->o.on_answer(r->o.arg, a);
}

static void on_answer(void *arg, const struct api_result *res)
{
    struct way *w = arg;
    struct report *r = w->report;
    w->under_way = false;
    w->observed = (struct ip){ 0 };
    if (res->answer.kind == ANSWER_OK)
        take(w, &res->answer);
    else if (r->why.text[0] == 0 || w->family == 4) /* that of IPv4 says more to most people */
        r->why = res->answer.info;
    if (r->retry_after_s < res->retry_after_s)
        r->retry_after_s = res->retry_after_s;
    end_of_way(r);
}

/* The public address of ours that is told to others is the one to be proven: the kernel may prefer
 * one that is temporary. */
static const char *source_of(const struct report *r, int family, char out[WORTH_TEXT_MAX])
{
    struct worth_pick picks[ADDRESS_MAX];
    size_t n = address_worth(r->o.config, picks, ADDRESS_MAX);
    for (size_t i = 0; i < n; i++) {
        if (picks[i].kind == WORTH_GUA && picks[i].ip.family == family &&
            address_is_own(&picks[i].ip)) {
            worth_format(&picks[i].ip, out);
            return out;
        }
    }
    return NULL;
}

static void send_by(struct report *r, unsigned mask)
{
    char *body = r->o.compose(r->o.arg, false);
    r->round |= mask;
    for (unsigned i = 0; i < WAYS_N; i++) {
        struct way *w = &r->ways[i];
        char source[WORTH_TEXT_MAX];
        if ((mask & 1u << i) == 0)
            continue;
        w->under_way = true;
        w->tried_ms = clock_mono_ms();
        const struct api_way way = { w->family, source_of(r, w->family, source) };
        api_report(w->api, &way, span_str(body != NULL ? body : "{}"), on_answer, w);
    }
    free(body);
}

static void stop_round(struct report *r)
{
    for (unsigned i = 0; i < WAYS_N; i++) {
        api_cancel(r->ways[i].api);
        r->ways[i].under_way = false;
    }
}

/* The report of a start is counted before it is sent. */
static void note_start(struct report *r)
{
    if (r->was_noted)
        return;
    r->was_noted = true;
    pace_note(&r->file.pace, now_s(r), r->o.config->retry_s);
    save(r);
}

static void on_timer(void *arg)
{
    struct report *r = arg;
    if (!r->enrolled)
        return;
    stop_round(r); /* of before a change */
    note_start(r);
    if (r->changed)
        r->quick = QUICK_N;
    r->changed = false;
    r->begun_ms = clock_mono_ms();
    r->round = 0;
    r->alive = false;
    r->retry_after_s = -1;
    r->why = (struct err_info){ "" };
    send_by(r, r->todo);
}

/* ---- what brings one about ------------------------------------------------------------------- */

/* What the last report is compared with: the gateway tells one network from another in which we
 * have the same address. */
static char *make_print(const struct report *r)
{
    struct in_addr gateway = { 0 }, own = { 0 };
    char *body = r->o.compose(r->o.arg, true), *text = NULL;
    (void)interfaces_gateway(&gateway, &own);
    if (body != NULL && asprintf(&text, "%08x %s", gateway.s_addr, body) < 0)
        text = NULL;
    free(body);
    return text;
}

/* True when it is another than at the last report. */
static bool note_print(struct report *r)
{
    char *print = make_print(r);
    bool changed = print == NULL || r->tried == NULL || strcmp(print, r->tried) != 0;
    free(r->tried);
    r->tried = print;
    return changed;
}

/* A round that is under way goes on until the next may begin: a network that changes all the time
 * would never let one end. */
void report_changed(struct report *r)
{
    if (!r->enrolled || !note_print(r))
        return;
    r->changed = true;
    plan_after_change(r);
}

void report_ask(struct report *r)
{
    if (r->enrolled && r->file.attempts == 0 && r->error.text[0] == 0 && !is_busy(r))
        plan_after_change(r);
}

void report_set_enrolled(struct report *r, bool enrolled)
{
    if (r->enrolled == enrolled)
        return;
    r->enrolled = enrolled;
    stop_round(r);
    loop_timer_cancel(r->timer);
    r->changed = false;
    if (!enrolled)
        return;
    (void)note_print(r);
    int64_t wait_s = backoff_remaining_s(r->file.retry_at, now_s(r), WAIT_MAX_S);
    if (r->file.retry_at - now_s(r) > WAIT_MAX_S)
        wait_s = 0; /* written under a clock that was ahead */
    if (!r->was_noted)
        r->start_ms =
            clock_mono_ms() + pace_wait_s(&r->file.pace, now_s(r), r->o.config->retry_s) * 1000;
    plan(r, wait_at_least_ms(r, wait_s * 1000 + DEBOUNCE_MS), 1u << FOUR | 1u << SIX);
}

/* ---- life ------------------------------------------------------------------------------------ */

enum err report_new(struct report **out, struct loop *l, const struct report_options *o)
{
    struct err_info info;
    struct report *r = calloc(1, sizeof *r);
    if (r == NULL)
        return ERR_NOMEM;
    r->loop = l;
    r->o = *o;
    if (reportfile_load(&r->file, o->config, o->id->text, &info) != ERR_OK)
        log_warn("%s", info.text);
    enum err e = loop_timer_new(&r->timer, l, on_timer, r);
    for (unsigned i = 0; i < WAYS_N && e == ERR_OK; i++) {
        r->ways[i].report = r;
        r->ways[i].family = i == FOUR ? 4 : 6;
        e = api_new(&r->ways[i].api, l, o->pool, o->config->server);
    }
    if (e != ERR_OK) {
        report_free(r);
        return e;
    }
    *out = r;
    return ERR_OK;
}

enum err report_relay(const struct report *r, struct relaygrant *out)
{
    return reportfile_relay(&r->file, out, r->o.id->text, r->o.config->zone, now_s(r));
}

const struct reported *report_last(const struct report *r)
{
    return &r->file.reported;
}

json_t *report_to_json(const struct report *r)
{
    json_t *observed = json_array();
    for (unsigned i = 0; i < WAYS_N; i++) {
        char address[WORTH_TEXT_MAX];
        if (r->ways[i].observed.family == 0)
            continue;
        worth_format(&r->ways[i].observed, address);
        (void)json_array_append_new(observed, json_string(address));
    }
    json_t *error = r->error.text[0] == 0
                        ? json_null()
                        : json_pack("{sI ss sI}", "at", (json_int_t)r->error_at, "text",
                                    r->error.text, "attempts", (json_int_t)r->file.attempts);
    return json_pack("{sI sI so* so* so*}", "at", (json_int_t)r->at, "next_at",
                     (json_int_t)(r->enrolled ? r->next_at : 0), "observed", observed, "tags",
                     reportfile_tags(&r->file, r->o.config, r->o.id->text), "error", error);
}

void report_set_config(struct report *r, const struct config *c)
{
    r->o.config = c;
}

void report_free(struct report *r)
{
    if (r == NULL)
        return;
    for (unsigned i = 0; i < WAYS_N; i++)
        api_free(r->ways[i].api);
    loop_timer_free(r->timer);
    reportfile_clear(&r->file);
    free(r->tried);
    free(r);
}
