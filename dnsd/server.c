#include "dnsd/server.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/notify.h"
#include "common/base/process.h"
#include "common/net/loop.h"
#include "common/net/privdrop.h"
#include "common/store/challenge.h"
#include "dnsd/exposition.h"
#include "dnsd/health.h"
#include "dnsd/signwatch.h"
#include "dnsd/sockets.h"
#include "dnsd/statusweb.h"
#include "dnsd/stream.h"
#include "dnsd/worker.h"

#define CERT_CHECK_MS 2000

struct server {
    struct config *config; /* of the start: what sockets and threads are like */
    const char *path;
    struct sockets sockets;
    struct servercert *cert; /* NULL without listen_tls */
    bool cert_failing;       /* the system could not read it, which was told */
    struct view *view;       /* the present one */
    struct guardfiles *guardfiles;
    struct signwatch *signwatch;
    struct loop_timer *on_poll;
    struct loop *loop;
    struct loop_signal *on_hup, *on_term, *on_int;
    struct loop_timer *cert_timer;
    struct reader *reader;
    struct stream *tcp, *tls; /* tls NULL without listen_tls */
    struct worker **workers;
    size_t n_workers;
    struct mailbox **mailboxes; /* of the workers and the streams */
    size_t n_mailboxes;
    const struct tally **tallies; /* of the workers */
    struct notify notify;
    struct health *health;
    struct statusweb *web;
    uint64_t reloads, reloads_failed;
    int64_t started_s, reloaded_s;
    struct view_change change; /* one at a time */
    atomic_bool changing;
    bool reloading;    /* the service manager was told so */
    bool reload_again; /* asked for while a change was under way */
};

enum err server_new(struct server **out, struct config *config, const char *path,
                    struct err_info *info)
{
    struct server *s = calloc(1, sizeof *s);
    if (s == NULL)
        return err_set(info, ERR_NOMEM, "out of memory");
    s->config = config;
    s->path = path;
    s->workers = calloc(config->n_workers, sizeof *s->workers);
    enum err e = ERR_NOMEM;
    s->tallies = calloc(config->n_workers, sizeof *s->tallies);
    s->mailboxes = calloc(config->n_workers + 2, sizeof *s->mailboxes);
    notify_init(&s->notify);
    if (s->workers == NULL || s->tallies == NULL || s->mailboxes == NULL)
        (void)err_set(info, e, "out of memory");
    else if ((e = signwatch_new(&s->signwatch, clock_now_s(), clock_mono_ms())) != ERR_OK)
        (void)err_set(info, e, "cannot set up signatures");
    else
        e = sockets_open(&s->sockets, config, info);
    if (e != ERR_OK) {
        server_free(s);
        return e;
    }
    s->view = config->view;
    config->view = NULL;
    s->cert = config->cert;
    config->cert = NULL;
    s->guardfiles = config->guardfiles;
    config->guardfiles = NULL;
    *out = s;
    return ERR_OK;
}

void server_free(struct server *s)
{
    if (s == NULL)
        return;
    sockets_close(&s->sockets);
    servercert_free(s->cert);
    view_free(s->view);
    guardfiles_free(s->guardfiles);
    signwatch_free(s->signwatch);
    notify_clear(&s->notify);
    free(s->mailboxes);
    free(s->tallies);
    free(s->workers);
    free(s);
}

static void log_zones(const struct view *v)
{
    for (size_t i = 0; i < v->n_zones; i++) {
        const struct zone *z = v->zones[i];
        char store[256] = "nowhere";
        if (z->challenges != NULL)
            challenge_url_show(z->challenges, store, sizeof store);
        else if (z->challenges_cname != NULL)
            (void)snprintf(store, sizeof store, "where their CNAME points");
        log_info("zone %s: %zu static names, challenges from %s", z->text, z->n_nodes, store);
        const struct suspended *list = v->guards[i].suspended;
        if (list != NULL)
            log_info("zone %s: %zu ids and %zu ranges of addresses are suspended", z->text,
                     list->n_ids, list->n_ranges4 + list->n_ranges6);
    }
}

static void log_listens(const struct config *c, const struct sockets *sockets)
{
    for (size_t i = 0; i < c->listen.n; i++)
        log_info("listening on %s, UDP and TCP", c->listen.at[i].text);
    for (size_t i = 0; i < c->listen_tls.n; i++)
        log_info("listening on %s, TLS", c->listen_tls.at[i].text);
    for (size_t i = 0; i < c->n_xdp; i++)
        log_info("questions by UDP that %s receives are taken by AF_XDP, past the firewall; "
                 "queues: %zu, in the %s",
                 c->xdp[i], xdp_n_queues(sockets->xdp[i]),
                 xdp_in_driver(sockets->xdp[i]) ? "driver" : "kernel (generic mode)");
    for (size_t i = 0; i < c->metrics.n; i++)
        log_info("metrics at http://%s/metrics", c->metrics.at[i].text);
    for (size_t i = 0; i < c->public_.n; i++)
        log_info("health at http://%s/healthz and /readyz", c->public_.at[i].text);
}

static void reload(struct server *s);

/* A change is complete. */
static void end_reload(void *arg)
{
    struct server *s = arg;
    if (s->reloading && !s->reload_again) {
        s->reloading = false;
        notify_ready(&s->notify);
    }
    reload(s);
}

/* The reader's thread: the old view is gone. */
static void on_released(struct view_change *change)
{
    struct server *s = change->arg;
    atomic_store(&s->changing, false);
    if (loop_post(s->loop, end_reload, s) != ERR_OK)
        log_warn("out of memory: a reload that was asked for meanwhile has to be asked for again");
}

/* The thread that was last to take the new view over. */
static void on_acknowledged(struct view_change *change)
{
    struct server *s = change->arg;
    reader_release(s->reader, change, on_released);
}

/* The certificate of `c` for the connections to come. */
static void apply_cert(struct server *s, struct config *c)
{
    if (s->tls == NULL || c->tls == NULL)
        return;
    stream_set_tls(s->tls, c->tls);
    servercert_free(s->cert);
    s->cert = c->cert;
    c->cert = NULL;
    s->cert_failing = false;
}

/* Looks for a new certificate, such as an ACME client puts there. */
static void on_cert_timer(void *arg)
{
    struct server *s = arg;
    SSL_CTX *tls = NULL;
    struct err_info info = { .text = "" };
    loop_timer_set(s->cert_timer, CERT_CHECK_MS);
    if (!servercert_has_changed(s->cert))
        return;
    enum err e = servercert_load(s->cert, &tls, &info);
    bool passes = e == ERR_IO || e == ERR_NOMEM; /* and is tried again each time */
    if (e != ERR_OK && !(passes && s->cert_failing))
        log_warn("the certificate of DNS over TLS changed, but the old one stays: %s", info.text);
    s->cert_failing = passes;
    if (e != ERR_OK)
        return;
    stream_set_tls(s->tls, tls);
    SSL_CTX_free(tls);
    log_info("the certificate of DNS over TLS changed: the new one is used");
}

/* Hands `view` to every thread in the place of the present one. No change is under way. */
static void publish(struct server *s, struct view *view)
{
    atomic_store(&s->changing, true);
    s->change =
        (struct view_change){ .view = view, .old = s->view, .done = on_acknowledged, .arg = s };
    atomic_init(&s->change.n_waiting, (unsigned)s->n_mailboxes);
    s->view = view;
    for (size_t i = 0; i < s->n_mailboxes; i++)
        mailbox_post(s->mailboxes[i], &s->change);
}

/* The serials of the zones: who copies a zone by another way sees no change in one that went back,
 * which is what a file of before looks like [RFC 1982 s3.2]. */
static void check_serials(const struct view *now, const struct view *before)
{
    for (size_t i = 0; i < now->n_zones; i++) {
        const struct zone *z = now->zones[i];
        const struct zone *b = view_find(before, &z->apex, z->apex.n_labels);
        if (b == NULL || b->apex.n_labels != z->apex.n_labels)
            continue;
        uint32_t serial = zone_serial(z), old = zone_serial(b);
        if (zone_serial_is_before(serial, old))
            log_warn("zone %s: its serial went back from %" PRIu32 " to %" PRIu32
                     ": is this an old file?",
                     z->text, old, serial);
    }
}

static void apply(struct server *s, struct config *c)
{
    if (config_needs_restart(s->config, c))
        log_warn(
            "listen*, xdp, metrics, workers, user and tcp_* take effect at the next start only");
    log_set_level(c->log_level);
    apply_cert(s, c);
    log_zones(c->view);
    check_serials(c->view, s->view);
    if (c->view->shield.cookies_are_random && s->view->shield.cookies_are_random)
        c->view->shield.cookies = s->view->shield.cookies;
    guardfiles_free(s->guardfiles);
    s->guardfiles = c->guardfiles;
    c->guardfiles = NULL;
    publish(s, c->view);
    c->view = NULL;
    s->reloads++;
    s->reloaded_s = clock_now_s();
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
    s->reloading = true;
    notify_reloading(&s->notify);
    if (config_load(&c, s->path, &info) == ERR_OK &&
        guardfiles_check_kept(c->guardfiles, s->guardfiles, &info) == ERR_OK) {
        apply(s, c);
    } else {
        log_error("reload: %s; the old configuration stays", info.text);
        s->reloads_failed++;
        s->reloading = false;
        notify_ready(&s->notify);
    }
    config_free(c);
}

static void on_hup(void *arg)
{
    struct server *s = arg;
    s->reload_again = true;
    reload(s);
}

/* The files of tag keys and suspended ids, and the signatures of signed zones, once a second. */
static void on_poll(void *arg)
{
    struct server *s = arg;
    struct view *view = NULL;
    int64_t now_s = clock_now_s();
    if (!atomic_load(&s->changing))
        guardfiles_poll(s->guardfiles, s->view, &view);
    if (!atomic_load(&s->changing) && view == NULL)
        signwatch_poll(s->signwatch, s->view, now_s, clock_mono_ms(), &view);
    if (view != NULL)
        publish(s, view);
    if (signwatch_wants_reload(s->signwatch, s->view, now_s))
        on_hup(s);
    loop_timer_set(s->on_poll, GUARDFILES_POLL_MS);
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
    if (e == ERR_OK && s->cert != NULL)
        e = loop_timer_new(&s->cert_timer, s->loop, on_cert_timer, s);
    if (e == ERR_OK && s->cert != NULL)
        loop_timer_set(s->cert_timer, CERT_CHECK_MS);
    if (e == ERR_OK)
        e = loop_timer_new(&s->on_poll, s->loop, on_poll, s);
    if (e == ERR_OK)
        loop_timer_set(s->on_poll, GUARDFILES_POLL_MS);
    return e == ERR_OK ? e : err_set(info, e, "cannot start the event loop");
}

static enum err start_worker(struct server *s, size_t i, struct err_info *info)
{
    size_t n = s->config->listen.n;
    const struct worker_ways ways = { s->sockets.udp + i * n, n, s->sockets.queues[i],
                                      s->sockets.n_queues[i] };
    return worker_new(&s->workers[i], &ways, s->view, s->reader, info);
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
        e = stream_new(&s->tcp, s->sockets.tcp, s->sockets.n_tcp, NULL, &limits, s->view, s->reader,
                       info);
    if (e == ERR_OK && s->cert != NULL)
        e = stream_new(&s->tls, s->sockets.tls, s->sockets.n_tls, c->tls, &limits, s->view,
                       s->reader, info);
    for (; e == ERR_OK && s->n_workers < c->n_workers; s->n_workers += e == ERR_OK)
        e = start_worker(s, s->n_workers, info);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return e;
}

static void write_metrics(struct buf *out, void *arg)
{
    const struct server *s = arg;
    struct reader_counts reader;
    reader_count(s->reader, &reader);
    struct exposition e = { .workers = s->tallies,
                            .n_workers = s->n_workers,
                            .streams = { [TALLY_TCP] = stream_counts(s->tcp) },
                            .reader = &reader,
                            .view = s->view,
                            .signwatch = signwatch_counts(s->signwatch),
                            .reloads = s->reloads,
                            .reloads_failed = s->reloads_failed,
                            .started_s = s->started_s,
                            .reloaded_s = s->reloaded_s };
    if (s->tls != NULL) {
        e.streams[TALLY_TLS] = stream_counts(s->tls);
        e.cert_not_after_s = servercert_not_after(s->cert);
    }
    for (size_t i = 0; i < s->sockets.n_xdp; i++)
        e.xdp_dropped += xdp_dropped(s->sockets.xdp[i]);
    exposition_write(out, &e);
}

/* What watches the threads, and the pages that show it. */
static enum err start_watch(struct server *s, struct err_info *info)
{
    for (size_t i = 0; i < s->n_workers; i++) {
        s->tallies[i] = worker_tally(s->workers[i]);
        s->mailboxes[s->n_mailboxes++] = worker_mailbox(s->workers[i]);
    }
    s->mailboxes[s->n_mailboxes++] = stream_mailbox(s->tcp);
    if (s->tls != NULL)
        s->mailboxes[s->n_mailboxes++] = stream_mailbox(s->tls);
    s->started_s = s->reloaded_s = clock_now_s();
    const struct health_parts health = { s->loop,   s->mailboxes, s->n_mailboxes,
                                         s->reader, &s->view,     &s->notify };
    enum err e = health_new(&s->health, &health);
    const struct statusweb_parts web = { s->loop,   &s->sockets.metrics, &s->sockets.public_,
                                         s->health, write_metrics,       s };
    if (e == ERR_OK)
        e = statusweb_new(&s->web, &web);
    return e == ERR_OK ? e : err_set(info, e, "cannot start the status pages");
}

static void stop_threads(struct server *s)
{
    for (size_t i = 0; i < s->n_workers; i++)
        worker_free(s->workers[i]);
    stream_stop(s->tcp);
    stream_stop(s->tls);
    reader_free(s->reader);
    if (atomic_load(&s->changing)) /* stopped before the last thread took the new view over */
        view_retire(s->change.old, s->view);
    stream_free(s->tcp);
    stream_free(s->tls);
}

enum err server_run(struct server *s, struct err_info *info)
{
    enum err e = start_loop(s, info);
    if (e == ERR_OK)
        e = start_threads(s, info);
    if (e == ERR_OK)
        e = start_watch(s, info);
    if (e == ERR_OK) {
        process_release_reload();
        log_listens(s->config, &s->sockets);
        log_zones(s->view);
        privdrop_warn_root();
        log_info("ready");
        notify_ready(&s->notify);
        loop_run(s->loop);
        log_info("stopping");
        notify_stopping(&s->notify);
    }
    statusweb_free(s->web);
    health_free(s->health);
    stop_threads(s);
    loop_timer_free(s->cert_timer);
    loop_timer_free(s->on_poll);
    loop_signal_free(s->on_hup);
    loop_signal_free(s->on_term);
    loop_signal_free(s->on_int);
    loop_free(s->loop);
    return e;
}
