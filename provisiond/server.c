#include "provisiond/server.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/notify.h"
#include "common/base/process.h"
#include "common/net/httpd.h"
#include "common/net/listen.h"
#include "common/net/metricweb.h"
#include "common/net/privdrop.h"
#include "provisiond/api/api.h"
#include "provisiond/crlsync.h"
#include "provisiond/engine.h"
#include "provisiond/exposition.h"
#include "provisiond/fleetcount.h"
#include "provisiond/health.h"
#include "provisiond/issuers.h"
#include "provisiond/owncert.h"
#include "provisiond/publicweb.h"
#include "provisiond/pruner.h"
#include "provisiond/revoker.h"
#include "provisiond/store/jobs.h"
#include "provisiond/store/order.h"
#include "provisiond/store/seenmark.h"
#include "provisiond/store/storelock.h"
#include "provisiond/stopsync.h"

#define DRAIN_MS 5000
#define OWN_CERT_CHECK_MS                                                                          \
    3600000 /* the clock may jump: looked at every hour, not slept for a month */

/* Sockets of a listener's further addresses. */
struct more {
    size_t n;
    int fds[HTTPD_SOCKETS_MAX - 1];
};

struct server {
    const struct config *config;
    struct loop *loop;
    int device_fd, public_fd, metrics_fd, lock_fd;
    struct more device_more, public_more;
    struct sql *db;
    struct issuers *issuers;
    struct jobs *store;
    struct engine *engine;
    struct stopsync *stopsync;
    struct crlsync *crlsync;
    struct revoker *revoker;
    struct api *api;
    struct httpd *device, *public_;
    struct loop_signal *term, *intr, *hup;
    struct loop_timer *own_cert_timer;
    struct owncert owncert;
    struct notify notify;
    struct health *health;
    struct fleetcount *fleet;
    struct pruner *pruner;
    struct publicweb publicweb;
    struct discovery *discovery;
    struct pagefiles *companion;
    struct metricweb *metrics;
    int64_t started_s;
    uint64_t reloads, reloads_failed;
    unsigned draining; /* listeners that still have responses under way */
    bool stopping;
};

/* --- start --- */

static enum err bind_one(int *fd, const struct config_listen *l, struct err_info *info)
{
    if (!l->set)
        return ERR_OK;
    enum err e = listen_tcp(fd, &l->addr, false, info);
    return e == ERR_OK ? e : err_prefix(info, ERR_CONFIG, "%s: ", l->where);
}

static enum err bind_more(struct more *m, const struct config_listen *l, struct err_info *info)
{
    enum err e = ERR_OK;
    for (size_t i = 0; i < l->n_more && e == ERR_OK; i++) {
        e = listen_tcp(&m->fds[m->n], &l->more[i], false, info);
        m->n += e == ERR_OK;
    }
    return e == ERR_OK ? e : err_prefix(info, ERR_CONFIG, "%s: ", l->where);
}

/* What is left in `m` is the caller's to close. */
static enum err listen_more(struct httpd *h, struct more *m)
{
    enum err e = ERR_OK;
    while (m->n > 0 && e == ERR_OK) {
        e = httpd_listen(h, m->fds[m->n - 1]);
        m->n -= e == ERR_OK;
    }
    return e;
}

static void note_seen(struct server *s)
{
    struct err_info info = { "" };
    if (seenmark_note(s->db, s->config->store, &info) != ERR_OK)
        log_warn("a restore of the store would not be noticed: %s", info.text);
}

/* A restored backup is noticed by what it lacks; see seenmark.h. */
static enum err look_for_restore(struct server *s, struct err_info *info)
{
    bool lacks;
    int64_t n_held;
    enum err e = seenmark_check(s->db, s->config->store, clock_now_s(), &lacks, &n_held, info);
    if (e != ERR_OK)
        return e;
    if (lacks)
        log_warn("the store lacks what it had: it was restored. Tokens held: %lld, as they may "
                 "have been used since: 'token release' or 'token revoke' them",
                 (long long)n_held);
    note_seen(s);
    return ERR_OK;
}

static enum err open_store(struct server *s, struct err_info *info)
{
    enum err e = storelock_take(&s->lock_fd, s->config->store, info);
    if (e == ERR_OK)
        e = sql_open(&s->db, s->config->store, info);
    if (e == ERR_OK)
        e = order_release_all(s->db, s->config->node, info);
    if (e == ERR_OK)
        e = look_for_restore(s, info);
    return e == ERR_OK ? e : err_prefix(info, e, "%s: store: ", s->config->store_where);
}

/* --- our own certificate --- */

static enum err renew_contexts(struct server *s, struct err_info *info)
{
    SSL_CTX *device = NULL, *public_ctx = NULL;
    enum err e = owncert_make(&s->owncert, &device, &public_ctx, info);
    if (e == ERR_OK) {
        httpd_set_tls(s->device, device);
        if (s->public_ != NULL)
            httpd_set_tls(s->public_, public_ctx);
    }
    SSL_CTX_free(device);
    SSL_CTX_free(public_ctx);
    return e;
}

static void on_own_cert_timer(void *arg)
{
    struct server *s = arg;
    struct err_info info = { "" };
    const struct owncert *o = &s->owncert;
    if (clock_now_s() > o->not_after_s - (o->not_after_s - o->not_before_s) / 3 &&
        renew_contexts(s, &info) != ERR_OK)
        log_error("cannot renew the service's own certificate: %s", info.text);
    loop_timer_set(s->own_cert_timer, OWN_CERT_CHECK_MS);
}

/* --- listeners --- */

/* What browsers are given on the public listener. */
static enum err open_discovery(struct server *s, struct err_info *info)
{
    const struct discovery_parts parts = { s->loop, s->config, s->store };
    enum err e = discovery_new(&s->discovery, &parts, info);
    if (e == ERR_OK)
        e = pagefiles_new(&s->companion, s->config, info);
    s->publicweb.discovery = s->discovery;
    s->publicweb.companion = s->companion;
    return e;
}

static enum err open_listeners(struct server *s, struct err_info *info)
{
    SSL_CTX *device = NULL, *public_ctx = NULL;
    enum err e = open_discovery(s, info);
    if (e == ERR_OK)
        e = owncert_make(&s->owncert, &device, &public_ctx, info);
    if (e == ERR_OK) {
        e = httpd_new(&s->device, s->loop, s->device_fd, device, NULL, api_on_device_request,
                      s->api);
        s->device_fd = e == ERR_OK ? -1 : s->device_fd;
    }
    if (e == ERR_OK)
        e = listen_more(s->device, &s->device_more);
    if (e == ERR_OK)
        e = httpd_set_proxies(s->device, s->config->device_proxies.from,
                              s->config->device_proxies.n);
    if (e == ERR_OK && s->public_fd >= 0) {
        e = httpd_new(&s->public_, s->loop, s->public_fd, public_ctx, NULL, publicweb_on_request,
                      &s->publicweb);
        s->public_fd = e == ERR_OK ? -1 : s->public_fd;
        if (e == ERR_OK)
            e = listen_more(s->public_, &s->public_more);
        if (e == ERR_OK)
            e = httpd_set_proxies(s->public_, s->config->public_proxies.from,
                                  s->config->public_proxies.n);
    }
    SSL_CTX_free(device);
    SSL_CTX_free(public_ctx);
    if (e == ERR_OK && s->config->tls_cert == NULL) {
        e = loop_timer_new(&s->own_cert_timer, s->loop, on_own_cert_timer, s);
        if (e == ERR_OK)
            loop_timer_set(s->own_cert_timer, OWN_CERT_CHECK_MS);
    }
    return e;
}

/* --- end --- */

static void on_engine_stopped(void *arg)
{
    struct server *s = arg;
    loop_stop(s->loop);
}

static void on_drained(void *arg)
{
    struct server *s = arg;
    if (--s->draining == 0)
        engine_stop(s->engine, on_engine_stopped, s);
}

static void stop(void *arg)
{
    struct server *s = arg;
    if (s->stopping)
        return;
    s->stopping = true;
    log_info("stopping; orders under way go on at the next start");
    notify_stopping(&s->notify);
    health_stop(s->health);
    api_stop(s->api);
    s->draining = s->public_ != NULL ? 2 : 1;
    if (s->public_ != NULL)
        httpd_drain(s->public_, DRAIN_MS, on_drained, s);
    httpd_drain(s->device, DRAIN_MS, on_drained, s);
}

static bool reload_tag_keys(const struct config *c)
{
    bool all = true;
    for (size_t i = 0; i < c->n_zones; i++) {
        const struct config_zone *z = &c->zones[i];
        struct err_info info = { "" };
        if (z->tag_keys == NULL || tagkeys_reload(z->tag_keys, c->user, &info) == ERR_OK)
            continue;
        log_error("SIGHUP: zone %s: the old tag keys stay: %s", z->name, info.text);
        all = false;
    }
    return all;
}

/* The sections of the file, of which nothing else counts before a restart. */
static bool reload_relays(const struct config *c)
{
    struct config *fresh = NULL;
    struct err_info info = { "" };
    if (relays_is_empty(c->relays) && access(c->path, R_OK) != 0 && errno == EACCES) {
        log_info("SIGHUP: %s is not readable for this user: relays in it need a restart", c->path);
        return true;
    }
    if (config_load(&fresh, c->path, &info) != ERR_OK) {
        log_error("SIGHUP: the old relays stay: %s", info.text);
        return false;
    }
    relays_replace(c->relays, fresh->relays);
    log_info("SIGHUP: the relays are those of the file now");
    config_free(fresh);
    return true;
}

static void on_hup(void *arg)
{
    struct server *s = arg;
    struct err_info info = { "" };
    if (s->stopping)
        return;
    notify_reloading(&s->notify);
    api_reload_lists(s->api);
    bool keys = reload_tag_keys(s->config), relays = reload_relays(s->config),
         cert = renew_contexts(s, &info) == ERR_OK;
    if (cert)
        log_info("SIGHUP: new connections get %s; other changes need a restart",
                 s->config->tls_cert != NULL ? "the certificate that the files hold now"
                                             : "a fresh certificate by the local CA");
    else
        log_error("SIGHUP: the old certificate stays: %s", info.text);
    if (keys && relays && cert)
        s->reloads++;
    else
        s->reloads_failed++;
    notify_ready(&s->notify);
}

static void on_order(void *arg)
{
    struct server *s = arg;
    engine_kick(s->engine);
}

static void on_change(void *arg, const char *device_id)
{
    struct server *s = arg;
    if (!s->stopping)
        api_on_change(s->api, device_id);
}

/* --- what watches it --- */

static void write_metrics(struct buf *out, void *arg)
{
    const struct server *s = arg;
    const struct exposition e = { .config = s->config,
                                  .device = httpd_counts(s->device),
                                  .public_ = s->public_ != NULL ? httpd_counts(s->public_) : NULL,
                                  .store = jobs_counts(s->store),
                                  .challenges = jobs_counts(engine_challenge_jobs(s->engine)),
                                  .api = s->api,
                                  .discovery = s->discovery,
                                  .engine = s->engine,
                                  .fleet = s->fleet,
                                  .owncert = &s->owncert,
                                  .started_s = s->started_s,
                                  .reloads = s->reloads,
                                  .reloads_failed = s->reloads_failed };
    exposition_write(out, &e);
}

static enum err start_watch(struct server *s, struct err_info *info)
{
    enum err e = fleetcount_new(&s->fleet, s->loop, s->config, info);
    if (e != ERR_OK)
        return err_prefix(info, e, "%s: store: ", s->config->store_where);
    const struct health_parts parts = {
        .loop = s->loop,
        .config = s->config,
        .store = s->store,
        .engine = s->engine,
        .owncert = &s->owncert,
        .notify = &s->notify,
        .at_risk = &fleetcount_last(s->fleet)->at_risk,
    };
    e = health_new(&s->health, &parts);
    s->publicweb.health = s->health;
    if (e == ERR_OK)
        e = pruner_new(&s->pruner, s->loop, s->store);
    if (e == ERR_OK && s->metrics_fd >= 0)
        e = metricweb_new(&s->metrics, s->loop, &s->metrics_fd, write_metrics, s);
    return e == ERR_OK ? e : err_set(info, e, "cannot start the status pages");
}

/* What is looked at now and then beside the orders. */
static enum err start_chores(struct server *s)
{
    struct revoker_parts revoker = { s->loop, s->config, s->issuers, s->store };
    enum err e = stopsync_new(&s->stopsync, s->loop, s->config, s->store);
    if (e == ERR_OK)
        e = crlsync_new(&s->crlsync, s->loop, s->config, s->issuers, s->store);
    if (e == ERR_OK)
        e = revoker_new(&s->revoker, &revoker);
    return e;
}

/* --- the whole --- */

static enum err bind_all(struct server *s, struct err_info *info)
{
    const struct config *c = s->config;
    enum err e = bind_one(&s->device_fd, &c->device, info);
    if (e == ERR_OK)
        e = bind_more(&s->device_more, &c->device, info);
    if (e == ERR_OK)
        e = bind_one(&s->public_fd, &c->public_, info);
    if (e == ERR_OK)
        e = bind_more(&s->public_more, &c->public_, info);
    if (e == ERR_OK)
        e = bind_one(&s->metrics_fd, &c->metrics, info);
    return e;
}

static enum err prepare(struct server *s, struct err_info *info)
{
    const struct config *c = s->config;
    enum err e = bind_all(s, info);
    if (e == ERR_OK)
        e = publicweb_check(info);
    if (e == ERR_OK) {
        e = privdrop_to(c->user, info);
        if (e != ERR_OK)
            e = err_prefix(info, e, "%s: user: ", c->user_where);
    }
    if (e == ERR_OK)
        e = privdrop_capabilities(info);
    if (e == ERR_OK)
        e = loop_new(&s->loop);
    if (e == ERR_OK)
        e = open_store(s, info);
    if (e == ERR_OK)
        e = issuers_open(&s->issuers, s->loop, c, info);
    s->owncert = (struct owncert){ .config = c };
    if (e == ERR_OK)
        s->owncert.ca = issuers_local_ca(s->issuers);
    if (e == ERR_OK)
        e = jobs_new(&s->store, s->loop, s->db, NULL);
    struct api_parts api = { s->loop, c, s->store, on_order, s };
    if (e == ERR_OK)
        e = api_new(&s->api, &api, info);
    if (e == ERR_OK)
        e = open_listeners(s, info);
    struct engine_parts parts = { s->loop, c, s->issuers, s->store, c->node, on_change, s };
    if (e == ERR_OK) /* begins to work, so after all that the configuration can get wrong */
        e = engine_new(&s->engine, &parts, info);
    if (e == ERR_OK)
        e = start_watch(s, info);
    if (e == ERR_OK)
        e = start_chores(s);
    if (e == ERR_OK)
        e = loop_signal_new(&s->term, s->loop, SIGTERM, stop, s);
    if (e == ERR_OK)
        e = loop_signal_new(&s->intr, s->loop, SIGINT, stop, s);
    if (e == ERR_OK)
        e = loop_signal_new(&s->hup, s->loop, SIGHUP, on_hup, s);
    return e;
}

static void log_listen(const char *whom, const struct config_listen *l, const char *path)
{
    for (size_t i = 0; i <= l->n_more; i++) {
        char text[ADDR_TEXT_MAX];
        addr_format(i == 0 ? &l->addr : &l->more[i - 1], text);
        log_info("listening for %s at https://%s%s", whom, text, path);
    }
}

static void log_start(const struct config *c)
{
    char text[ADDR_TEXT_MAX];
    for (size_t i = 0; i < c->n_zones; i++)
        log_info("zone %s: issuer %s, enrolment %s", c->zones[i].name,
                 c->issuers[c->zones[i].issuers[0]].name,
                 c->zones[i].enroll == CONFIG_ENROLL_OPEN    ? "open"
                 : c->zones[i].enroll == CONFIG_ENROLL_TOKEN ? "by token"
                                                             : "by factory certificate");
    log_listen("devices", &c->device, "/");
    if (c->public_.set)
        log_listen("browsers and health checks", &c->public_, "/");
    if (c->metrics.set) {
        addr_format(&c->metrics.addr, text);
        log_info("metrics at http://%s/metrics", text);
    }
}

/* The listeners go first, then whoever could still call back, then what they stand on. */
static void clear(struct server *s)
{
    httpd_free(s->device);
    httpd_free(s->public_);
    metricweb_free(s->metrics);
    fleetcount_free(s->fleet);
    issuers_free(s->issuers);
    jobs_free(s->store);
    engine_free(s->engine);
    health_free(s->health);
    stopsync_free(s->stopsync);
    crlsync_free(s->crlsync);
    revoker_free(s->revoker);
    pruner_free(s->pruner);
    api_free(s->api);
    discovery_free(s->discovery);
    pagefiles_free(s->companion);
    loop_timer_free(s->own_cert_timer);
    loop_signal_free(s->term);
    loop_signal_free(s->intr);
    loop_signal_free(s->hup);
    loop_free(s->loop);
    if (s->stopping) /* a clean end: all is committed */
        note_seen(s);
    sql_close(s->db);
    while (s->device_more.n > 0)
        close(s->device_more.fds[--s->device_more.n]);
    while (s->public_more.n > 0)
        close(s->public_more.fds[--s->public_more.n]);
    int const fds[] = { s->device_fd, s->public_fd, s->metrics_fd, s->lock_fd };
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
}

enum err server_run(const struct config *config, struct err_info *info)
{
    struct server s = {
        .config = config, .device_fd = -1, .public_fd = -1, .metrics_fd = -1, .lock_fd = -1
    };
    (void)process_raise_fd_limit();
    notify_init(&s.notify);
    enum err e = prepare(&s, info);
    if (e == ERR_OK) {
        s.started_s = clock_now_s();
        log_start(config);
        privdrop_warn_root();
        notify_ready(&s.notify);
        loop_run(s.loop);
        log_info("stopped");
    }
    clear(&s);
    notify_clear(&s.notify);
    return e;
}
