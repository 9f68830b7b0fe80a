#include "provisiond/relay/relay.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/notify.h"
#include "common/base/process.h"
#include "common/net/listen.h"
#include "common/net/privdrop.h"
#include "common/net/relayframe.h"
#include "common/net/tls.h"
#include "common/pki/cert.h"
#include "provisiond/relay/acceptor.h"
#include "provisiond/relay/circuit.h"
#include "provisiond/relay/control.h"
#include "provisiond/relay/dialback.h"
#include "provisiond/relay/statusweb.h"

#define ACCEPTORS_MAX (3 * RELAYCONF_LISTEN_MAX)
#define TICK_MS 500

struct relay {
    struct loop *loop;
    struct relayconf *config;
    char *path;
    SSL_CTX *tls;
    struct hub hub;
    size_t n_acceptors;
    struct acceptor *acceptors[ACCEPTORS_MAX];
    struct statusweb *web;
    struct loop_signal *signals[3];
    struct loop_timer *tick; /* the watchdog's, and the end of a drain */
    int64_t drain_until_ms;
    struct notify notify;
};

static void on_client(void *arg, int fd, const struct addr *peer)
{
    circuit_start(arg, fd, peer);
}

static void on_control(void *arg, int fd, const struct addr *peer)
{
    control_start(arg, fd, peer);
}

static void on_data(void *arg, int fd, const struct addr *peer)
{
    dialback_start(arg, fd, peer);
}

static void close_listeners(struct relay *r)
{
    for (size_t i = 0; i < r->n_acceptors; i++)
        acceptor_free(r->acceptors[i]);
    r->n_acceptors = 0;
}

static enum err listen_all(struct relay *r, const struct relayconf_listen *all, int defer_s,
                           acceptor_fn *fn, struct err_info *info)
{
    for (size_t i = 0; i < all->n; i++) {
        int fd = -1;
        if (listen_tcp(&fd, &all->addr[i], false, info) != ERR_OK)
            return err_prefix(info, ERR_CONFIG, "%s: ", all->where);
        enum err e = acceptor_new(&r->acceptors[r->n_acceptors], r->loop, fd, defer_s, fn, &r->hub);
        if (e != ERR_OK) {
            close(fd);
            return err_set(info, e, "out of memory");
        }
        r->n_acceptors++;
    }
    return ERR_OK;
}

/* Nobody who says nothing takes a place: see acceptor.h. */
static enum err open_listeners(struct relay *r, struct err_info *info)
{
    const struct relayconf *c = r->config;
    enum err e = listen_all(r, &c->clients, (int)(c->hello_ms / 1000), on_client, info);
    if (e == ERR_OK)
        e = listen_all(r, &c->control, 0, on_control, info);
    if (e == ERR_OK)
        e = listen_all(r, &c->data, (int)(c->dial_ms / 1000), on_data, info);
    return e;
}

/* ---- signals --------------------------------------------------------------------------------- */

/* No more clients; the devices go elsewhere; those who are served may finish. */
static void on_stop(void *arg)
{
    struct relay *r = arg;
    if (r->hub.draining) {
        loop_stop(r->loop);
        return;
    }
    log_info("stopping: %zu connections have %lld s to end", r->hub.n_circuits,
             (long long)r->config->drain_ms / 1000);
    notify_stopping(&r->notify);
    r->hub.draining = true;
    r->drain_until_ms = clock_mono_ms() + r->config->drain_ms;
    close_listeners(r);
    struct control *c, *next;
    for (c = TAILQ_FIRST(&r->hub.controls); c != NULL; c = next) {
        next = control_next(c);
        control_dismiss(c, RELAYFRAME_STOPPING);
    }
    loop_timer_set(r->tick, 0);
}

static void on_tick(void *arg)
{
    struct relay *r = arg;
    const struct hub *h = &r->hub;
    notify_alive(&r->notify);
    if (h->draining &&
        ((h->n_circuits == 0 && h->n_controls == 0) || clock_mono_ms() >= r->drain_until_ms)) {
        loop_stop(r->loop);
        return;
    }
    loop_timer_set(r->tick,
                   h->draining || r->notify.watchdog_ms == 0 ? TICK_MS : r->notify.watchdog_ms / 3);
}

static bool same_listen(const struct relayconf_listen *a, const struct relayconf_listen *b)
{
    bool same = a->n == b->n;
    for (size_t i = 0; same && i < a->n; i++)
        same = a->addr[i].len == b->addr[i].len &&
               memcmp(&a->addr[i].ss, &b->addr[i].ss, a->addr[i].len) == 0;
    return same;
}

static bool same_zones(const struct relayconf *a, const struct relayconf *b)
{
    bool same = a->n_zones == b->n_zones;
    for (size_t i = 0; same && i < a->n_zones; i++)
        same = strcmp(a->zones[i], b->zones[i]) == 0;
    return same;
}

static void on_reload(void *arg)
{
    struct relay *r = arg;
    const struct relayconf *old = r->config;
    struct relayconf *c;
    struct err_info info;
    notify_reloading(&r->notify);
    if (relayconf_load(&c, r->path, &info) != ERR_OK) {
        log_error("%s; going on with the configuration before", info.text);
    } else if (strcmp(c->name, old->name) != 0 || strcmp(c->identity, old->identity) != 0 ||
               !same_listen(&c->clients, &old->clients) ||
               !same_listen(&c->control, &old->control) || !same_listen(&c->data, &old->data) ||
               !same_listen(&c->metrics, &old->metrics) || !same_zones(c, old) ||
               c->clients_max != old->clients_max) {
        log_error("name, identity, zones, clients_max and what is listened on change at a restart "
                  "only; going on with the configuration before");
        relayconf_free(c);
    } else {
        hub_set_config(&r->hub, c);
        relayconf_free(r->config);
        r->config = c;
        log_set_level(c->log_level);
        log_info("configuration read again");
    }
    notify_ready(&r->notify);
}

/* ---- start and end --------------------------------------------------------------------------- */

static enum err make_tls(struct relay *r, struct err_info *info)
{
    EVP_PKEY *key = NULL;
    X509 *cert = NULL;
    STACK_OF(X509) *chain = sk_X509_new_null();
    struct devid id;
    enum err e = relayconf_identity(&key, &id, r->config, info);
    if (e == ERR_OK)
        e = cert_new_identity(&cert, key, clock_now_s());
    if (e == ERR_OK && (chain == NULL || sk_X509_push(chain, cert) <= 0))
        e = err_set(info, ERR_NOMEM, "out of memory");
    if (e == ERR_OK)
        e = tls_server_new(&r->tls, NULL, key, chain, TLS_PEER_ANY_KEY, RELAYFRAME_ALPN, info);
    if (e == ERR_OK)
        log_info("relay %s with id %s", r->config->name, id.text);
    sk_X509_free(chain);
    X509_free(cert);
    EVP_PKEY_free(key);
    return e;
}

static enum err open_web(struct relay *r, struct err_info *info)
{
    int fd = -1;
    if (r->config->metrics.n == 0)
        return ERR_OK;
    if (listen_tcp(&fd, &r->config->metrics.addr[0], false, info) != ERR_OK)
        return err_prefix(info, ERR_CONFIG, "%s: ", r->config->metrics.where);
    enum err e = statusweb_new(&r->web, r->loop, &fd, &r->hub);
    if (e != ERR_OK)
        close(fd);
    return e;
}

static enum err watch_signals(struct relay *r)
{
    enum err e = loop_signal_new(&r->signals[0], r->loop, SIGTERM, on_stop, r);
    if (e == ERR_OK)
        e = loop_signal_new(&r->signals[1], r->loop, SIGINT, on_stop, r);
    if (e == ERR_OK)
        e = loop_signal_new(&r->signals[2], r->loop, SIGHUP, on_reload, r);
    if (e == ERR_OK)
        e = loop_timer_new(&r->tick, r->loop, on_tick, r);
    return e;
}

enum err relay_new(struct relay **out, struct relayconf *config, const char *path,
                   struct err_info *info)
{
    struct relay *r = calloc(1, sizeof *r);
    if (r == NULL)
        return err_set(info, ERR_NOMEM, "out of memory");
    (void)err_set(info, ERR_NOMEM, "out of memory");
    r->config = config;
    notify_init(&r->notify);
    r->path = strdup(path);
    enum err e = r->path == NULL ? ERR_NOMEM : loop_new(&r->loop);
    if (e == ERR_OK)
        e = make_tls(r, info);
    if (e == ERR_OK)
        e = hub_init(&r->hub, r->loop, config, r->tls);
    if (e == ERR_OK)
        e = watch_signals(r);
    if (e == ERR_OK)
        e = open_web(r, info);
    if (e == ERR_OK)
        e = open_listeners(r, info);
    if (e != ERR_OK) {
        r->config = NULL; /* stays the caller's */
        relay_free(r);
        return e;
    }
    *out = r;
    return ERR_OK;
}

void relay_run(struct relay *r)
{
    process_release_reload();
    loop_timer_set(r->tick, 0);
    notify_ready(&r->notify);
    privdrop_warn_root();
    log_info("ready");
    loop_run(r->loop);
    log_info("stopped");
}

void relay_free(struct relay *r)
{
    if (r == NULL)
        return;
    close_listeners(r);
    statusweb_free(r->web);
    if (r->hub.loop != NULL)
        hub_clear(&r->hub);
    for (size_t i = 0; i < ARRAY_LEN(r->signals); i++)
        loop_signal_free(r->signals[i]);
    loop_timer_free(r->tick);
    SSL_CTX_free(r->tls);
    loop_free(r->loop);
    notify_clear(&r->notify);
    relayconf_free(r->config);
    free(r->path);
    free(r);
}
