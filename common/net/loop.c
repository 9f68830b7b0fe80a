#include "common/net/loop.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include <event2/event.h>
#include <event2/thread.h>

struct task {
    struct task *next;
    void (*fn)(void *arg);
    void *arg;
};

struct loop {
    struct event_base *base;
    struct event *wake; /* activated by loop_post() */
    pthread_mutex_t mutex;
    struct task *first, **last; /* under mutex */
};

struct loop_timer {
    struct event *ev;
    void (*fn)(void *arg);
    void *arg;
};

struct loop_signal {
    struct event *ev;
    void (*fn)(void *arg);
    void *arg;
};

static void run_tasks(struct loop *l)
{
    pthread_mutex_lock(&l->mutex);
    struct task *t = l->first;
    l->first = NULL;
    l->last = &l->first;
    pthread_mutex_unlock(&l->mutex);
    while (t != NULL) {
        struct task *next = t->next;
        t->fn(t->arg);
        free(t);
        t = next;
    }
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    run_tasks(arg);
}

enum err loop_new(struct loop **out)
{
    (void)signal(SIGPIPE, SIG_IGN); /* a peer that closed is an error of a write, not our end */
    return loop_new_hosted(out);
}

enum err loop_new_hosted(struct loop **out)
{
    (void)evthread_use_pthreads();
    struct loop *l = calloc(1, sizeof *l);
    if (l == NULL)
        return ERR_NOMEM;
    pthread_mutex_init(&l->mutex, NULL);
    l->last = &l->first;
    struct event_config *cfg = event_config_new();
    if (cfg != NULL) {
        (void)event_config_set_flag(cfg, EVENT_BASE_FLAG_PRECISE_TIMER);
        l->base = event_base_new_with_config(cfg);
        event_config_free(cfg);
    }
    if (l->base != NULL)
        l->wake = event_new(l->base, -1, EV_PERSIST, on_wake, l);
    if (l->wake == NULL) {
        loop_free(l);
        return ERR_NOMEM;
    }
    *out = l;
    return ERR_OK;
}

void loop_free(struct loop *l)
{
    if (l == NULL)
        return;
    if (l->wake != NULL)
        event_free(l->wake);
    if (l->base != NULL)
        event_base_free(l->base);
    while (l->first != NULL) {
        struct task *t = l->first;
        l->first = t->next;
        free(t);
    }
    pthread_mutex_destroy(&l->mutex);
    free(l);
}

void loop_run(struct loop *l)
{
    (void)event_base_loop(l->base, EVLOOP_NO_EXIT_ON_EMPTY);
}

static void break_loop(void *arg)
{
    struct loop *l = arg;
    (void)event_base_loopbreak(l->base);
}

void loop_stop(struct loop *l)
{
    /* a task, so that a stop before loop_run() is not forgotten */
    if (loop_post(l, break_loop, l) != ERR_OK)
        (void)event_base_loopbreak(l->base);
}

enum err loop_post(struct loop *l, void (*fn)(void *arg), void *arg)
{
    struct task *t = malloc(sizeof *t);
    if (t == NULL)
        return ERR_NOMEM;
    *t = (struct task){ .fn = fn, .arg = arg };
    pthread_mutex_lock(&l->mutex);
    *l->last = t;
    l->last = &t->next;
    pthread_mutex_unlock(&l->mutex);
    event_active(l->wake, EV_READ, 1);
    return ERR_OK;
}

struct event_base *loop_base(struct loop *l)
{
    return l->base;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct loop_timer *t = arg;
    (void)fd;
    (void)what;
    t->fn(t->arg);
}

enum err loop_timer_new(struct loop_timer **out, struct loop *l, void (*fn)(void *arg), void *arg)
{
    struct loop_timer *t = calloc(1, sizeof *t);
    if (t == NULL)
        return ERR_NOMEM;
    *t = (struct loop_timer){ .ev = evtimer_new(l->base, on_timer, t), .fn = fn, .arg = arg };
    if (t->ev == NULL) {
        free(t);
        return ERR_NOMEM;
    }
    *out = t;
    return ERR_OK;
}

void loop_timer_free(struct loop_timer *t)
{
    if (t == NULL)
        return;
    event_free(t->ev);
    free(t);
}

void loop_timer_set(struct loop_timer *t, int64_t delay_ms)
{
    if (delay_ms < 0)
        delay_ms = 0;
    if (delay_ms > 86400000)
        delay_ms = 86400000;
    struct timeval tv = { .tv_sec = (time_t)(delay_ms / 1000),
                          .tv_usec = (suseconds_t)(delay_ms % 1000 * 1000) };
    (void)evtimer_add(t->ev, &tv);
}

void loop_timer_cancel(struct loop_timer *t)
{
    (void)evtimer_del(t->ev);
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
    struct loop_signal *s = arg;
    (void)fd;
    (void)what;
    s->fn(s->arg);
}

enum err loop_signal_new(struct loop_signal **out, struct loop *l, int signum,
                         void (*fn)(void *arg), void *arg)
{
    struct loop_signal *s = calloc(1, sizeof *s);
    if (s == NULL)
        return ERR_NOMEM;
    *s = (struct loop_signal){ .fn = fn, .arg = arg };
    s->ev = evsignal_new(l->base, signum, on_signal, s);
    if (s->ev == NULL || evsignal_add(s->ev, NULL) != 0) {
        loop_signal_free(s);
        return ERR_NOMEM;
    }
    *out = s;
    return ERR_OK;
}

void loop_signal_free(struct loop_signal *s)
{
    if (s == NULL)
        return;
    if (s->ev != NULL)
        event_free(s->ev);
    free(s);
}
