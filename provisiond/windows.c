#include "provisiond/windows.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "provisiond/core/breaker.h"
#include "provisiond/core/cohort.h"
#include "provisiond/store/current.h"

#define TICK_MS 1000
#define IDLE_MS 10000     /* after a look that found nothing due */
#define CLAIM_LEASE_S 600 /* an answer takes no longer */
#define IN_FLIGHT_MAX 64  /* questions to one CA */
#define DAY_S 86400

/* One question: from the claim of the certificate to the written answer. */
struct question {
    struct job job; /* first */
    struct ca *ca;
    struct question *prev, *next; /* in the list of the claim (next), then of the CA */
    struct current_row row;
    bool alarm;
};

struct ca {
    struct job job; /* first: the claim */
    struct windows *windows;
    size_t number; /* in the configuration */
    struct breaker breaker;
    struct cohort_alarms alarms;
    struct question *claimed; /* by the job under way */
    struct question *asked;   /* until the answer is written */
    int64_t max;              /* of it */
    size_t in_flight;
    bool claiming;
    int64_t next_ms; /* monotonic: the next look */
};

struct windows {
    struct windows_parts parts;
    struct loop_timer *timer;
    struct ca *cas[CONFIG_LIST_MAX]; /* by number; NULL for a local CA */
    bool stopping;
};

static const struct config_issuer *config_of(const struct ca *ca)
{
    return &ca->windows->parts.config->issuers[ca->number];
}

static void question_free(struct question *q)
{
    if (q->prev != NULL)
        q->prev->next = q->next;
    else
        q->ca->asked = q->next;
    if (q->next != NULL)
        q->next->prev = q->prev;
    free(q);
}

/* --- the answer --- */

static enum err run_save(struct job *j, void *ctx)
{
    struct question *q = (struct question *)j;
    enum err e = current_save(ctx, &q->row, &j->info);
    int64_t hour = q->row.renewal.not_before / COHORT_S * COHORT_S;
    if (e == ERR_OK && q->alarm)
        e = current_alarm(ctx, q->row.issuer, hour - COHORT_S, hour + 2 * COHORT_S, clock_now_s(),
                          &j->info);
    return e;
}

static void on_saved(struct job *j, enum err e)
{
    struct question *q = (struct question *)j;
    if (e != ERR_OK) /* its lease ends, and it is asked again */
        log_error("%s", j->info.text);
    question_free(q);
}

static struct renewal_answer answer_of(const struct issuer_window *w)
{
    struct renewal_answer a = { .outcome = RENEWAL_LONG_TERM,
                                .start = w->start_at,
                                .end = w->end_at,
                                .retry_after_s = w->reply.retry_after_s };
    if (w->reply.verdict == ISSUER_OK)
        a.outcome = RENEWAL_WINDOW;
    else if (w->reply.verdict == ISSUER_RETRY)
        a.outcome = RENEWAL_TEMPORARY;
    return a;
}

static void on_window(void *arg, const struct issuer_window *w)
{
    struct question *q = arg;
    struct ca *ca = q->ca;
    int64_t now = clock_now_s();
    uint32_t random;
    ca->in_flight--;
    secret_random(&random, sizeof random);
    if (w->reply.verdict == ISSUER_RETRY)
        breaker_fail(&ca->breaker, clock_mono_ms(), w->reply.retry_after_s, random);
    else
        breaker_succeed(&ca->breaker);
    struct renewal_answer a = answer_of(w);
    bool moved =
        renewal_take(&q->row.renewal, &a, renewal_seed(q->row.device_id, q->row.ari_id), now);
    if (a.outcome == RENEWAL_WINDOW)
        (void)snprintf(q->row.explanation, sizeof q->row.explanation, "%.255s", w->explanation);
    q->alarm = moved && cohort_alarm(&ca->alarms, q->row.renewal.not_before, now);
    if (q->alarm)
        log_warn("%s wants a certificate replaced before its time%s%s: its neighbours are asked "
                 "about",
                 config_of(ca)->name, w->explanation[0] != 0 ? ", see " : "", w->explanation);
    q->job = (struct job){ .run = run_save, .done = on_saved };
    if (ca->windows->stopping)
        question_free(q);
    else
        jobs_submit(ca->windows->parts.store, &q->job);
}

/* --- the questions --- */

static void add_question(void *arg, const struct current_row *row)
{
    struct ca *ca = arg;
    struct question *q = calloc(1, sizeof *q);
    if (q == NULL)
        return; /* its lease ends, and it is asked again */
    q->ca = ca;
    q->row = *row;
    q->next = ca->claimed;
    ca->claimed = q;
}

static void drop_claimed(struct ca *ca)
{
    while (ca->claimed != NULL) {
        struct question *q = ca->claimed;
        ca->claimed = q->next;
        free(q);
    }
}

static enum err run_claim(struct job *j, void *ctx)
{
    struct ca *ca = (struct ca *)j;
    int64_t now = clock_now_s();
    drop_claimed(ca); /* of a run whose commit failed */
    return current_claim(ctx, config_of(ca)->name, now, now + CLAIM_LEASE_S,
                         now - ca->windows->parts.config->active_days * DAY_S, ca->max,
                         add_question, ca, &j->info);
}

static void ask(struct ca *ca, struct question *q)
{
    struct issuer *is = issuers_find(ca->windows->parts.issuers, ca->number, q->row.account, 0);
    q->next = ca->asked;
    if (q->next != NULL)
        q->next->prev = q;
    ca->asked = q;
    ca->in_flight++;
    breaker_begin(&ca->breaker, clock_mono_ms());
    is->ops->renewal_info(is, q->row.ari_id, on_window, q);
}

static void on_claimed(struct job *j, enum err e)
{
    struct ca *ca = (struct ca *)j;
    ca->claiming = false;
    if (e != ERR_OK)
        log_error("%s", j->info.text);
    if (e != ERR_OK || ca->windows->stopping) {
        drop_claimed(ca);
        return;
    }
    ca->next_ms = clock_mono_ms() + (ca->claimed != NULL ? TICK_MS : IDLE_MS);
    while (ca->claimed != NULL) {
        struct question *q = ca->claimed;
        ca->claimed = q->next;
        ask(ca, q); /* puts it into the other list */
    }
}

static void look(struct ca *ca, int64_t now_ms)
{
    if (ca->claiming || now_ms < ca->next_ms || ca->in_flight >= IN_FLIGHT_MAX ||
        !breaker_allows(&ca->breaker, now_ms))
        return;
    int64_t room = IN_FLIGHT_MAX - (int64_t)ca->in_flight;
    int64_t rate = config_of(ca)->windows_per_second;
    ca->max = ca->breaker.open ? 1 : rate < room ? rate : room;
    ca->claiming = true;
    ca->job = (struct job){ .run = run_claim, .done = on_claimed };
    jobs_submit(ca->windows->parts.store, &ca->job);
}

static void on_tick(void *arg)
{
    struct windows *w = arg;
    for (size_t i = 0; i < w->parts.config->n_issuers; i++) {
        if (w->cas[i] != NULL)
            look(w->cas[i], clock_mono_ms());
    }
    loop_timer_set(w->timer, TICK_MS);
}

/* --- life --- */

enum err windows_new(struct windows **out, const struct windows_parts *parts)
{
    struct windows *w = calloc(1, sizeof *w);
    if (w == NULL || loop_timer_new(&w->timer, parts->loop, on_tick, w) != ERR_OK) {
        free(w);
        return ERR_NOMEM;
    }
    w->parts = *parts;
    for (size_t i = 0; i < parts->config->n_issuers; i++) {
        if (parts->config->issuers[i].is_local)
            continue;
        if ((w->cas[i] = calloc(1, sizeof *w->cas[i])) == NULL) {
            windows_free(w);
            return ERR_NOMEM;
        }
        w->cas[i]->windows = w;
        w->cas[i]->number = i;
    }
    loop_timer_set(w->timer, TICK_MS);
    *out = w;
    return ERR_OK;
}

void windows_stop(struct windows *w)
{
    w->stopping = true;
    loop_timer_cancel(w->timer);
}

void windows_free(struct windows *w)
{
    if (w == NULL)
        return;
    for (size_t i = 0; i < CONFIG_LIST_MAX; i++) {
        if (w->cas[i] == NULL)
            continue;
        drop_claimed(w->cas[i]);
        while (w->cas[i]->asked != NULL)
            question_free(w->cas[i]->asked);
        free(w->cas[i]);
    }
    loop_timer_free(w->timer);
    free(w);
}
