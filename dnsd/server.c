#include "dnsd/server.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/net/listen.h"
#include "common/net/loop.h"
#include "dnsd/stream.h"
#include "dnsd/udp.h"
#include "dnsd/worker.h"

struct server {
    struct config *config; /* of the start: what sockets and threads are like */
    const char *path;
    int *udp_fds; /* n_listen for each worker */
    int *tcp_fds; /* n_listen */
    size_t n_udp, n_tcp;
    struct view *view; /* the present one */
    struct loop *loop;
    struct loop_signal *on_hup, *on_term, *on_int;
    struct reader *reader;
    struct stream *stream;
    struct worker **workers;
    size_t n_workers;
    struct view_change change; /* one at a time */
    atomic_bool changing;
    bool reload_again; /* asked for while a change was under way */
};

static enum err bind_all(struct server *s, struct err_info *info)
{
    const struct config *c = s->config;
    struct err_info why;
    enum err e = ERR_OK;
    /* TCP first: its sockets are not shared, so that another dnsd on the port is noticed */
    for (; e == ERR_OK && s->n_tcp < c->n_listen; s->n_tcp += e == ERR_OK)
        e = listen_tcp(&s->tcp_fds[s->n_tcp], &c->listen[s->n_tcp].addr, false, &why);
    for (; e == ERR_OK && s->n_udp < c->n_listen * c->n_workers; s->n_udp += e == ERR_OK)
        e = udp_open(&s->udp_fds[s->n_udp], &c->listen[s->n_udp % c->n_listen].addr, &why);
    if (e == ERR_OK)
        return ERR_OK;
    return err_set(info, ERR_CONFIG, "%s: listen: %s", c->listen_where, why.text);
}

enum err server_new(struct server **out, struct config *config, const char *path,
                    struct err_info *info)
{
    struct server *s = calloc(1, sizeof *s);
    if (s == NULL)
        return err_set(info, ERR_NOMEM, "out of memory");
    s->config = config;
    s->path = path;
    s->udp_fds = calloc(config->n_listen * config->n_workers, sizeof *s->udp_fds);
    s->tcp_fds = calloc(config->n_listen, sizeof *s->tcp_fds);
    s->workers = calloc(config->n_workers, sizeof *s->workers);
    enum err e = ERR_NOMEM;
    if (s->udp_fds == NULL || s->tcp_fds == NULL || s->workers == NULL)
        (void)err_set(info, e, "out of memory");
    else
        e = bind_all(s, info);
    if (e != ERR_OK) {
        server_free(s);
        return e;
    }
    s->view = config->view;
    config->view = NULL;
    *out = s;
    return ERR_OK;
}

void server_free(struct server *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->n_udp; i++)
        close(s->udp_fds[i]);
    for (size_t i = 0; i < s->n_tcp; i++)
        close(s->tcp_fds[i]);
    view_free(s->view);
    free(s->udp_fds);
    free(s->tcp_fds);
    free(s->workers);
    free(s);
}

static void log_zones(const struct view *v)
{
    for (size_t i = 0; i < v->n_zones; i++) {
        const struct zone *z = v->zones[i];
        log_info("zone %s: %zu static names, challenges from %s", z->text, z->n_nodes,
                 z->challenges != NULL ? z->challenges : "nowhere");
    }
}

static void reload(struct server *s);

static void run_reload(void *arg)
{
    reload(arg);
}

/* The reader's thread: the old view is gone. */
static void on_released(struct view_change *change)
{
    struct server *s = change->arg;
    atomic_store(&s->changing, false);
    if (loop_post(s->loop, run_reload, s) != ERR_OK)
        log_warn("out of memory: a reload that was asked for meanwhile has to be asked for again");
}

/* The thread that was last to take the new view over. */
static void on_acknowledged(struct view_change *change)
{
    struct server *s = change->arg;
    reader_release(s->reader, change, on_released);
}

static void apply(struct server *s, struct config *c)
{
    if (config_needs_restart(s->config, c))
        log_warn("listen, workers, user and tcp_* take effect at the next start only");
    log_init("dnsd", c->log_level);
    log_zones(c->view);
    atomic_store(&s->changing, true);
    s->change =
        (struct view_change){ .view = c->view, .old = s->view, .done = on_acknowledged, .arg = s };
    atomic_init(&s->change.n_waiting, (unsigned)s->n_workers + 1);
    s->view = c->view;
    c->view = NULL;
    for (size_t i = 0; i < s->n_workers; i++)
        mailbox_post(worker_mailbox(s->workers[i]), &s->change);
    mailbox_post(stream_mailbox(s->stream), &s->change);
    log_info("configuration reloaded");
}

/* Loads the configuration if somebody asked for it and no change is under way. */
static void reload(struct server *s)
{
    if (!s->reload_again || atomic_load(&s->changing))
        return;
    s->reload_again = false;
    struct config *c = NULL;
    struct err_info info = { .text = "" };
    if (config_load(&c, s->path, &info) != ERR_OK)
        log_error("reload: %s; the old configuration stays", info.text);
    else
        apply(s, c);
    config_free(c);
}

static void on_hup(void *arg)
{
    struct server *s = arg;
    s->reload_again = true;
    reload(s);
}

static void on_stop(void *arg)
{
    struct server *s = arg;
    loop_stop(s->loop);
}

static enum err start_loop(struct server *s, struct err_info *info)
{
    enum err e = loop_new(&s->loop);
    if (e == ERR_OK)
        e = loop_signal_new(&s->on_hup, s->loop, SIGHUP, on_hup, s);
    if (e == ERR_OK)
        e = loop_signal_new(&s->on_term, s->loop, SIGTERM, on_stop, s);
    if (e == ERR_OK)
        e = loop_signal_new(&s->on_int, s->loop, SIGINT, on_stop, s);
    return e == ERR_OK ? e : err_set(info, e, "cannot start the event loop");
}

static enum err start_threads(struct server *s, struct err_info *info)
{
    const struct config *c = s->config;
    const struct stream_limits limits = { c->tcp_max, c->tcp_client_max,
                                          (int64_t)c->tcp_idle_s * 1000 };
    sigset_t all, before;
    sigfillset(&all); /* signals are the main thread's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    enum err e = reader_new(&s->reader, info);
    if (e == ERR_OK)
        e = stream_new(&s->stream, s->tcp_fds, s->n_tcp, &limits, s->view, s->reader, info);
    for (; e == ERR_OK && s->n_workers < c->n_workers; s->n_workers += e == ERR_OK)
        e = worker_new(&s->workers[s->n_workers], s->udp_fds + s->n_workers * c->n_listen,
                       c->n_listen, s->view, s->reader, info);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return e;
}

static void stop_threads(struct server *s)
{
    for (size_t i = 0; i < s->n_workers; i++)
        worker_free(s->workers[i]);
    stream_stop(s->stream);
    reader_free(s->reader);
    if (atomic_load(&s->changing)) /* stopped before the last thread took the new view over */
        view_free(s->change.old);
    stream_free(s->stream);
}

enum err server_run(struct server *s, struct err_info *info)
{
    enum err e = start_loop(s, info);
    if (e == ERR_OK)
        e = start_threads(s, info);
    if (e == ERR_OK) {
        sigset_t hup; /* held since the start of the program */
        sigemptyset(&hup);
        sigaddset(&hup, SIGHUP);
        (void)pthread_sigmask(SIG_UNBLOCK, &hup, NULL);
        for (size_t i = 0; i < s->n_tcp; i++)
            log_info("listening on %s, UDP and TCP", s->config->listen[i].text);
        log_zones(s->view);
        log_info("ready");
        loop_run(s->loop);
        log_info("stopping");
    }
    stop_threads(s);
    loop_signal_free(s->on_hup);
    loop_signal_free(s->on_term);
    loop_signal_free(s->on_int);
    loop_free(s->loop);
    return e;
}
