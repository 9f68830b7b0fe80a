#include "agent/agent.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent/address.h"
#include "agent/announce.h"
#include "agent/api.h"
#include "agent/control.h"
#include "agent/core/clientaddr.h"
#include "agent/core/neighbour.h"
#include "agent/core/worth.h"
#include "agent/delivery.h"
#include "agent/events.h"
#include "agent/fallback.h"
#include "agent/front.h"
#include "agent/identity.h"
#include "agent/interfaces.h"
#include "agent/issuance.h"
#include "agent/mdns.h"
#include "agent/netwatch.h"
#include "agent/pairing.h"
#include "agent/portmap.h"
#include "agent/proxy.h"
#include "agent/relayclient.h"
#include "agent/relaywatch.h"
#include "agent/report.h"
#include "agent/resolverwatch.h"
#include "agent/statedir.h"
#include "agent/status.h"
#include "agent/timekeeper.h"
#include "agent/web.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/notify.h"
#include "common/pki/cert.h"

#define HANDSHAKE_MS 10000
#define CONNECT_MS 10000
#define HALF_CLOSED_MS 60000
#define NET_QUIET_MS 1000
#define RECONNECT_MS 3000 /* from one to the next: an exchange needs time to end */
#define RELAY_RETRIES 4   /* of its connection, in the time of one of the service */
#define DAY_MS INT64_C(86400000)
#define DESCRIPTORS_SPARE 72 /* for files, the service, resolvers, commands and the page */

struct agent {
    struct loop *loop;
    struct agent_host host; /* its functions are NULL: there is none */
    struct config *config;
    char *config_path;
    struct identity identity;
    struct truetime time;
    struct fetch *pool; /* to the service */
    struct issuance *issuance;
    struct report *report;
    struct delivery *delivery; /* of the certificate to the application */
    struct front *front;
    struct fallback fallback;
    struct netwatch *netwatch; /* NULL: the system has none */
    struct mdns *mdns;         /* NULL: not wanted */
    struct relayclient *relay; /* NULL: not wanted; ... */
    struct relaywatch *relays; /* ... then this, too */
    struct portmap *portmap;   /* NULL: not wanted */
    struct resolverwatch *resolvers;
    struct loop_timer *daily, *control_retry;
    struct loop_timer *reconnect; /* of the exchange under way, after a change of the network */
    int64_t reconnect_ms;         /* not before that, monotonic; 0: at any time */
    struct notify notify;         /* the service manager; nobody with a host */
    struct loop_timer *alive;
    struct web *web;
    struct events events;
    struct proxy *proxies[CONFIG_PROXIES_MAX];
    struct control *control;
    struct pairing *pairing;
    struct control_req *forget_req; /* NULL: nobody waits for the end of `forget` */
    struct loop_signal *signals[3];
};

/* ---- a new certificate ------------------------------------------------------------------------
 */

static void use_certificate(struct agent *a)
{
    const struct certset *set = issuance_current(a->issuance);
    struct err_info info;
    if (set == NULL)
        return;
    if (front_set_public(a->front, set->key, set->chain, set->not_before_s, set->not_after_s,
                         &info) != ERR_OK)
        log_error("the proxies cannot use the certificate: %s", info.text);
    if (a->host.on_certificate != NULL)
        a->host.on_certificate(a->host.arg, false, set->key, set->chain, set->not_after_s);
}

/* ---- the home network -------------------------------------------------------------------------
 */

/* Tells it of the best address, while there is a certificate that makes it a secure one. */
static void tell_network(struct agent *a)
{
    const struct certset *set = issuance_current(a->issuance);
    json_t *urls = json_array();
    if (a->mdns == NULL || urls == NULL)
        goto out;
    if (set != NULL && timekeeper_now_s(&a->time) < set->not_after_s)
        address_add_urls(a->config, a->identity.id.text, NULL, urls);
    const char *url = json_string_value(json_array_get(urls, 0));
    uint16_t port = url != NULL ? address_url_port(url) : 0;
    mdns_set(a->mdns, a->identity.id.text, url, port);
out:
    json_decref(urls);
}

static void start_mdns(struct agent *a)
{
    if (a->config->mdns && mdns_new(&a->mdns, a->loop, a->config->mdns_file) != ERR_OK)
        log_error("the network is not told of this device: out of memory");
    tell_network(a);
}

/* ---- the device's own certificate -------------------------------------------------------------
 */

static void tell_local(const struct agent *a)
{
    const struct fallback *f = &a->fallback;
    int64_t not_before_s, not_after_s;
    STACK_OF(X509) *chain = sk_X509_new_null();
    if (chain != NULL && sk_X509_push(chain, f->cert) > 0 &&
        cert_validity(f->cert, &not_before_s, &not_after_s) == ERR_OK)
        a->host.on_certificate(a->host.arg, true, f->key, chain, not_after_s);
    sk_X509_free(chain);
}

static void refresh_fallback(struct agent *a)
{
    struct fallback *f = &a->fallback;
    struct err_info info;
    bool changed, first = f->cert == NULL;
    if (issuance_journal(a->issuance)->state == LIFECYCLE_GONE)
        return; /* forgotten: no new key on the disk */
    enum err e = fallback_refresh(f, a->config, timekeeper_now_s(&a->time), &changed, &info);
    if (e == ERR_OK && changed)
        e = front_set_local(a->front, f->key, f->cert, &info);
    if (e != ERR_OK) {
        log_error("no local certificate: %s", info.text);
        return;
    }
    for (size_t i = 0; changed && i < a->config->n_proxies; i++)
        proxy_set_tls(a->proxies[i], front_tls(a->front));
    if (changed)
        web_set_tls(a->web, front_tls(a->front));
    if (changed && a->host.on_certificate != NULL)
        tell_local(a);
    if (changed && !first)
        events_add(&a->events, timekeeper_now_s(&a->time), "the local certificate was made anew");
    if (changed && !first)
        report_changed(a->report);
}

static void on_reconnect(void *arg)
{
    struct agent *a = arg;
    a->reconnect_ms = clock_mono_ms() + RECONNECT_MS;
    issuance_reconnect(a->issuance);
}

static void on_network(void *arg)
{
    struct agent *a = arg;
    log_debug("addresses or routes changed");
    refresh_fallback(a);
    tell_network(a);
    if (a->portmap != NULL)
        portmap_refresh(a->portmap);
    resolverwatch_look(a->resolvers);
    fetch_leave_connections(a->pool);
    report_changed(a->report);
    int64_t wait_ms = a->reconnect_ms - clock_mono_ms();
    loop_timer_set(a->reconnect, wait_ms > 0 ? wait_ms : 0);
}

static void on_day(void *arg)
{
    struct agent *a = arg;
    refresh_fallback(a); /* it grows old, too */
    tell_network(a);
    loop_timer_set(a->daily, DAY_MS);
}

/* The local certificate may have been made under the clock of before. */
static void on_clock(void *arg)
{
    struct agent *a = arg;
    events_add(&a->events, timekeeper_now_s(&a->time), "the clock was set, or this device slept");
    refresh_fallback(a);
    tell_network(a); /* whether the public one is good may be another matter now */
}

static void on_certificate(void *arg)
{
    struct agent *a = arg;
    events_add(&a->events, timekeeper_now_s(&a->time), "a new certificate is in place");
    use_certificate(a);
    tell_network(a);
    delivery_renewed(a->delivery);
}

/* ---- a port of the router ---------------------------------------------------------------------
 */

static bool is_key_of(X509 *cert, X509 *leaf)
{
    return cert != NULL && EVP_PKEY_eq(X509_get0_pubkey(cert), X509_get0_pubkey(leaf)) == 1;
}

/* Whether one of our keys made that connection: the public certificate's, or our own. */
static bool is_ours(void *arg, X509 *leaf)
{
    const struct agent *a = arg;
    const struct certset *set = issuance_current(a->issuance);
    return is_key_of(a->fallback.cert, leaf) ||
           (set != NULL && is_key_of(sk_X509_value(set->chain, 0), leaf));
}

static void on_portmap(void *arg)
{
    struct agent *a = arg;
    struct portmap_connection c;
    char ip[WORTH_TEXT_MAX];
    if (portmap_connection(a->portmap, &c)) {
        worth_format(&c.address, ip);
        events_add(&a->events, timekeeper_now_s(&a->time), "the router's %s:%u leads here", ip,
                   c.port);
    } else {
        events_add(&a->events, timekeeper_now_s(&a->time), "no port of the router leads here");
    }
    report_changed(a->report);
}

static void start_portmap(struct agent *a)
{
    char name[ISSUANCE_NAME_MAX + 8];
    struct err_info info;
    const struct config *c = a->config;
    (void)snprintf(name, sizeof name, "hairpin%s", issuance_name(a->issuance) + 1);
    struct portmap_options o = {
        .port = c->mapped_port,
        .external =
            c->mapped_external != 0 ? c->mapped_external : mapping_port_of(a->identity.id.text),
        .name = name,
        .is_ours = is_ours,
        .on_change = on_portmap,
        .arg = a,
    };
    if (c->port_mapping && portmap_new(&a->portmap, a->loop, &o, &info) != ERR_OK)
        log_error("no port of the router is asked for: %s", info.text);
}

static void on_port_given_back(void *arg)
{
    const struct agent *a = arg;
    loop_stop(a->loop);
}

/* Once what others gave us is given back; at once when asked twice. */
static void stop(struct agent *a)
{
    if (a->portmap == NULL || !portmap_end(a->portmap, on_port_given_back, a))
        loop_stop(a->loop);
}

/* ---- the relay --------------------------------------------------------------------------------
 */

/* A relay that lies must not pass for this device, nor for its own network, in a PROXY header. */
static bool may_come(void *arg, const struct addr *client)
{
    struct span s = addr_ip((const struct sockaddr *)&client->ss);
    struct ip ip = { .family = s.len == 4 ? 4 : 6 };
    (void)arg;
    if (s.len == 0)
        return false;
    memcpy(ip.bytes, s.p, s.len);
    return clientaddr_is_good(&ip) && !address_is_own(&ip);
}

/* Whether `client`, who came by the relay, is in our own network, where there is a shorter way. */
static bool is_at_home(const struct agent *a, const struct addr *client)
{
    struct worth_address own[INTERFACES_MAX];
    struct ip ip;
    return neighbour_ip(&ip, addr_ip((const struct sockaddr *)&client->ss)) &&
           (reported_is_ours(report_last(a->report), &ip) ||
            neighbour_by_link(&ip, own, interfaces_list(own, INTERFACES_MAX)));
}

static void on_relay_client(void *arg, int fd, const struct addr *client, const struct addr *ours)
{
    const struct agent *a = arg;
    if (is_at_home(a, client))
        resolverwatch_doubt(a->resolvers);
    const struct tunnel_ends ends = { client->ss, ours->ss };
    if (!proxy_adopt(a->proxies[0], fd, &ends))
        log_debug("a client that came by the relay found no room");
}

static void on_relay_state(void *arg)
{
    struct agent *a = arg;
    if (a->host.on_state != NULL)
        a->host.on_state(a->host.arg);
}

static void on_relay_stuck(void *arg)
{
    const struct agent *a = arg;
    report_ask(a->report);
}

static void on_relay_tried(void *arg, bool connected)
{
    const struct agent *a = arg;
    relaywatch_tried(a->relays, connected);
}

static void on_relays_changed(void *arg)
{
    const struct agent *a = arg;
    report_changed(a->report);
}

/* NULL: none. */
static void use_grant(struct agent *a, const struct relaygrant *grant)
{
    relaywatch_use(a->relays, grant);
    relayclient_use(a->relay, grant);
}

/* What the service answered to a report. */
static void use_relay(struct agent *a, struct span answer)
{
    struct relaygrant grant;
    if (a->relay == NULL)
        return;
    enum err e = relaygrant_parse(&grant, answer, a->identity.id.text, a->config->zone);
    if (e == ERR_INVALID)
        log_warn("what the service says about its relay makes no sense");
    else
        use_grant(a, e == ERR_OK ? &grant : NULL);
}

/* The one of before the restart: the service may be away. */
static void use_old_relay(struct agent *a)
{
    struct relaygrant grant;
    if (a->relay != NULL && a->config->report && report_relay(a->report, &grant) == ERR_OK)
        use_grant(a, &grant);
}

static enum err build_relay(struct agent *a)
{
    const struct relayclient_options o = {
        .identity = &a->identity,
        .pool = a->pool,
        .retry_s = a->config->retry_s > RELAY_RETRIES ? a->config->retry_s / RELAY_RETRIES : 1,
        .may_come = may_come,
        .on_client = on_relay_client,
        .on_state = on_relay_state,
        .on_tried = on_relay_tried,
        .on_stuck = on_relay_stuck,
        .arg = a,
    };
    const struct relaywatch_options watch = {
        .pool = a->pool, .unit_s = a->config->retry_s, .on_change = on_relays_changed, .arg = a
    };
    if (!a->config->relay)
        return ERR_OK;
    enum err e = relaywatch_new(&a->relays, a->loop, &watch);
    return e == ERR_OK ? relayclient_new(&a->relay, a->loop, &o) : e;
}

/* ---- reports ----------------------------------------------------------------------------------
 */

static char *compose_report(void *arg, bool lasting)
{
    const struct agent *a = arg;
    const struct announce what = { .config = a->config,
                                   .fallback = &a->fallback,
                                   .portmap = a->portmap,
                                   .relays = a->relays,
                                   .resolvers = a->resolvers };
    return announce_json(&what, lasting);
}

/* The resolvers' test has a public name to ask for, too. */
static void use_public_name(struct agent *a)
{
    const struct reported *r = report_last(a->report);
    for (size_t i = 0; i < r->n_tags; i++) {
        if (r->tags[i].ip.family == 6 && address_is_own(&r->tags[i].ip)) {
            resolverwatch_set_public(a->resolvers, &r->tags[i].ip, r->tags[i].label);
            return;
        }
    }
}

static void on_reported(void *arg, const struct answer *answer)
{
    struct agent *a = arg;
    if (a->relays != NULL)
        relaywatch_report(a->relays, true);
    use_relay(a, answer->report);
    if (answer->next_check_in_s > 0)
        issuance_note_renewal(a->issuance, answer, report_last(a->report)->next_report_s);
    if (a->portmap != NULL)
        portmap_observe(a->portmap, &report_last(a->report)->observed);
    use_public_name(a);
    if (a->host.on_state != NULL)
        a->host.on_state(a->host.arg);
}

static void on_report_failed(void *arg)
{
    const struct agent *a = arg;
    if (a->relays != NULL)
        relaywatch_report(a->relays, false);
}

/* As long as the service knows this device, and is to know about it. */
static void allow_reports(struct agent *a)
{
    enum lifecycle_state s = issuance_journal(a->issuance)->state;
    bool enrolled = s != LIFECYCLE_ILLEGAL && s != LIFECYCLE_ENROL && s != LIFECYCLE_GONE;
    report_set_enrolled(a->report, enrolled && a->config->report && a->forget_req == NULL);
}

/* ---- commands ---------------------------------------------------------------------------------
 */

json_t *agent_status(const struct agent *a)
{
    struct err_info storage = { "" };
    if (statedir_check(a->config->state_dir, &storage) == ERR_OK)
        (void)snprintf(storage.text, sizeof storage.text, "%s", issuance_storage(a->issuance));
    struct status s = {
        .config = a->config,
        .id = &a->identity.id,
        .journal = issuance_journal(a->issuance),
        .certificate = issuance_current(a->issuance),
        .is_running = true,
        .clock_s = clock_now_s(),
        .storage = storage.text,
        .detail = issuance_detail(a->issuance),
        .next_at = issuance_next_at(a->issuance),
        .fallback = &a->fallback,
        .delivery = a->delivery,
        .portmap = a->portmap,
        .relay = a->relay,
        .relays = a->relays,
        .mdns = a->mdns,
        .report = a->config->report ? a->report : NULL,
        .proxies = a->proxies,
        .pairing = a->pairing,
        .resolvers = resolverwatch_detail(a->resolvers),
    };
    return status_to_json(&s, timekeeper_now_s(&a->time));
}

static json_t *status_json(void *arg)
{
    return agent_status(arg);
}

static void on_forgotten(void *arg, enum err e, const struct err_info *info)
{
    struct agent *a = arg;
    struct control_req *req = a->forget_req;
    a->forget_req = NULL;
    control_reply(req, json_pack("{sb ss}", "ok", e == ERR_OK, "text",
                                 e == ERR_OK ? "This device is forgotten." : info->text));
    if (e == ERR_OK)
        stop(a);
    else
        allow_reports(a);
}

static void forget(struct agent *a, struct control_req *req, bool force)
{
    if (a->forget_req != NULL) {
        control_reply(req, json_pack("{sb ss}", "ok", 0, "text", "It is being forgotten already."));
        return;
    }
    a->forget_req = req;
    allow_reports(a);
    issuance_forget(a->issuance, force, on_forgotten, a);
}

static void on_pairing(void *arg, bool ok, const char *text)
{
    control_reply(arg, json_pack("{sb ss}", "ok", ok, "text", text));
}

/* `pair` and `unpair`. */
static void pair(struct agent *a, struct control_req *req, bool revoke)
{
    enum err e = revoke ? pairing_revoke(a->pairing, on_pairing, req)
                        : pairing_ask(a->pairing, on_pairing, req);
    if (e != ERR_OK)
        control_reply(req, json_pack("{sb ss}", "ok", 0, "text",
                                     "The service is being asked already: try again."));
}

static void look_at_resolvers(void *arg)
{
    struct agent *a = arg;
    resolverwatch_look(a->resolvers);
}

static void on_resolvers(void *arg)
{
    struct agent *a = arg;
    report_changed(a->report);
    if (a->host.on_state != NULL)
        a->host.on_state(a->host.arg);
}

static void on_state(void *arg)
{
    struct agent *a = arg;
    allow_reports(a);
    if (a->host.on_state != NULL)
        a->host.on_state(a->host.arg);
}

static void on_command(void *arg, struct control_req *req, const char *command)
{
    struct agent *a = arg;
    if (strcmp(command, "status") == 0) {
        control_reply(req, agent_status(a));
    } else if (strcmp(command, "renew") == 0) {
        issuance_renew(a->issuance);
        control_reply(req, json_pack("{sb ss}", "ok", 1, "text",
                                     "A new certificate is on its way; see `status`."));
    } else if (strcmp(command, "probe") == 0) {
        resolverwatch_answer(a->resolvers, req);
    } else if (strcmp(command, "forget") == 0 || strcmp(command, "forget --force") == 0) {
        forget(a, req, strcmp(command, "forget") != 0);
    } else if (strcmp(command, "pair") == 0 || strcmp(command, "unpair") == 0) {
        pair(a, req, strcmp(command, "unpair") == 0);
    } else {
        control_reply(req, json_pack("{sb ss}", "ok", 0, "text", "Unknown command."));
    }
}

/* The socket of the commands. A disk that takes no socket is no reason not to serve. */
static void open_control(void *arg)
{
    struct agent *a = arg;
    char path[PATH_MAX];
    struct err_info info = { "out of memory" };
    enum err e = statedir_path(path, a->config->state_dir, "control.sock", &info);
    if (e == ERR_OK)
        e = control_new(&a->control, a->loop, path, on_command, a, &info);
    if (e == ERR_OK)
        return;
    log_error("no commands can be taken: %s", info.text);
    loop_timer_set(a->control_retry, a->config->retry_s * 1000);
}

/* ---- signals ----------------------------------------------------------------------------------
 */

static void on_stop(void *arg)
{
    struct agent *a = arg;
    log_info("stopping");
    stop(a);
}

static bool same_proxies(const struct config *a, const struct config *b)
{
    if (a->n_proxies != b->n_proxies)
        return false;
    for (size_t i = 0; i < a->n_proxies; i++) {
        const struct config_proxy *p = &a->proxies[i], *q = &b->proxies[i];
        if (strcmp(p->label, q->label) != 0 || p->connections_max != q->connections_max ||
            p->idle_ms != q->idle_ms || p->proxy_protocol != q->proxy_protocol ||
            memcmp(&p->alpn, &q->alpn, sizeof p->alpn) != 0)
            return false;
    }
    return true;
}

static bool same_pages(const struct config *a, const struct config *b)
{
    bool same = a->n_pages == b->n_pages;
    for (size_t i = 0; same && i < a->n_pages; i++) {
        const struct config_page *p = &a->pages[i], *q = &b->pages[i];
        same = p->secure == q->secure && p->listen.len == q->listen.len &&
               memcmp(&p->listen.ss, &q->listen.ss, p->listen.len) == 0;
    }
    return same;
}

static bool same_port_mapping(const struct config *a, const struct config *b)
{
    return a->port_mapping == b->port_mapping && a->mapped_port == b->mapped_port &&
           a->mapped_external == b->mapped_external;
}

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* Everything can be changed but what was bound, opened or given up at the start. */
static void reload(struct agent *a)
{
    struct config *c;
    struct err_info info;
    if (config_load(&c, a->config_path, &info) != ERR_OK) {
        log_error("%s; going on with the configuration before", info.text);
        return;
    }
    if (access_check(&c->access, &info) != ERR_OK) {
        log_error("%s; going on with the configuration before", info.text);
        config_free(c);
        return;
    }
    const struct config *old = a->config;
    if (!same_text(c->server, old->server) || !same_text(c->server_ca, old->server_ca) ||
        !same_text(c->zone, old->zone) || !same_text(c->state_dir, old->state_dir) ||
        !same_text(c->user, old->user) || !same_proxies(c, old) || !same_pages(c, old) ||
        c->refuse_foreign != old->refuse_foreign || !same_port_mapping(c, old) ||
        c->relay != old->relay || c->mdns != old->mdns ||
        !same_text(c->mdns_file, old->mdns_file)) {
        log_error("server, server_ca, zone, state_dir, user, foreign_sni, port_mapping, relay, "
                  "mdns, page and proxy change at a restart only; going on with the configuration "
                  "before");
        config_free(c);
        return;
    }
    issuance_set_config(a->issuance, c);
    resolverwatch_set_config(a->resolvers, c);
    report_set_config(a->report, c);
    config_free(a->config);
    a->config = c;
    log_init("agent", c->log_level);
    if (delivery_set_config(a->delivery, c) != ERR_OK)
        log_error("the application is not checked: out of memory");
    refresh_fallback(a); /* `addresses` may be others */
    tell_network(a);
    resolverwatch_look(a->resolvers);
    allow_reports(a);
    report_changed(a->report);
    log_info("configuration read again");
}

static void on_reload(void *arg)
{
    struct agent *a = arg;
    notify_reloading(&a->notify);
    reload(a);
    notify_ready(&a->notify); /* with the old configuration, if need be */
}

/* A sign of life, twice as often as it is missed. */
static void on_alive(void *arg)
{
    struct agent *a = arg;
    notify_alive(&a->notify);
    loop_timer_set(a->alive, a->notify.watchdog_ms / 2);
}

static enum err watch_signals(struct agent *a)
{
    enum err e = loop_signal_new(&a->signals[0], a->loop, SIGTERM, on_stop, a);
    if (e == ERR_OK)
        e = loop_signal_new(&a->signals[1], a->loop, SIGINT, on_stop, a);
    if (e == ERR_OK)
        e = loop_signal_new(&a->signals[2], a->loop, SIGHUP, on_reload, a);
    return e;
}

/* ---- start and end ----------------------------------------------------------------------------
 */

/* How many connections each proxy may have, for all of them to have their two descriptors: clients
 * above that wait in the kernel's queue, where they would be cut off for want of one. */
static size_t connections_share(const struct config *c)
{
    struct rlimit limit;
    if (c->n_proxies == 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return SIZE_MAX;
    size_t share = limit.rlim_cur > DESCRIPTORS_SPARE
                       ? (size_t)(limit.rlim_cur - DESCRIPTORS_SPARE) / 2 / c->n_proxies
                       : 0;
    return share > 0 ? share : 1;
}

/* Takes each listener it uses out of `fds` by setting it to -1. */
static enum err start_proxies(struct agent *a, int *fds)
{
    size_t share = connections_share(a->config);
    for (size_t i = 0; i < a->config->n_proxies; i++) {
        const struct config_proxy *p = &a->config->proxies[i];
        if (p->connections_max > share)
            log_warn("proxy %s: %zu connections at most, as the limit of open files allows",
                     p->label, share);
        struct proxy_options o = {
            .backend = p->backend,
            .backend_len = p->backend_len,
            .label = p->label,
            .proxy_protocol = p->proxy_protocol,
            .alpn = p->alpn,
            .connections_max = p->connections_max < share ? p->connections_max : share,
            .handshake_ms = HANDSHAKE_MS,
            .connect_ms = CONNECT_MS,
            .idle_ms = p->idle_ms,
            .half_ms = p->idle_ms < HALF_CLOSED_MS ? p->idle_ms : HALF_CLOSED_MS,
        };
        enum err e = proxy_new(&a->proxies[i], a->loop, fds[i], &o);
        if (e != ERR_OK)
            return e;
        fds[i] = -1;
    }
    return ERR_OK;
}

static enum err start_pages(struct agent *a, int *fds)
{
    struct web_parts parts = { .loop = a->loop,
                               .identity = &a->identity,
                               .suffix = issuance_name(a->issuance) + 1,
                               .events = &a->events,
                               .pairing = a->pairing,
                               .status = status_json,
                               .test_again = look_at_resolvers,
                               .arg = a };
    enum err e = web_new(&a->web, &parts);
    for (size_t i = 0; e == ERR_OK && i < a->config->n_pages; i++) {
        e = web_listen(a->web, fds[i], a->config->pages[i].secure);
        if (e == ERR_OK)
            fds[i] = -1;
    }
    return e;
}

/* What talks to the service. */
static enum err build_service(struct agent *a, struct err_info *info)
{
    timekeeper_init(&a->time);
    enum err e =
        api_pool_new(&a->pool, a->loop, a->config->server_ca, &a->identity, &a->time, info);
    const struct issuance_options issuance = { .config = a->config,
                                               .identity = &a->identity,
                                               .pool = a->pool,
                                               .time = &a->time,
                                               .on_certificate = on_certificate,
                                               .on_state = on_state,
                                               .on_clock = on_clock,
                                               .arg = a };
    if (e == ERR_OK)
        e = issuance_new(&a->issuance, a->loop, &issuance, info);
    const struct report_options report = { .config = a->config,
                                           .time = &a->time,
                                           .pool = a->pool,
                                           .id = &a->identity.id,
                                           .compose = compose_report,
                                           .on_answer = on_reported,
                                           .on_failed = on_report_failed,
                                           .arg = a };
    return e == ERR_OK ? report_new(&a->report, a->loop, &report) : e;
}

static enum err build(struct agent *a, int *fds, struct err_info *info)
{
    const char *dir = a->config->state_dir;
    bool hosted = a->host.on_state != NULL;
    enum err e = access_check(&a->config->access, info);
    if (e != ERR_OK)
        return e;
    (void)err_set(info, ERR_NOMEM, "out of memory");
    e = identity_load(&a->identity, dir, true, info);
    if (e == ERR_OK)
        e = build_service(a, info);
    if (e == ERR_OK)
        e = build_relay(a);
    if (e == ERR_OK)
        e = front_new(&a->front, issuance_name(a->issuance), a->config->refuse_foreign, &a->time);
    if (e == ERR_OK)
        e = start_proxies(a, fds);
    if (e == ERR_OK)
        e = pairing_new(&a->pairing, a->loop, a->pool, a->config->server);
    if (e == ERR_OK)
        e = start_pages(a, fds + a->config->n_proxies);
    const struct delivery_options delivery = { .config = a->config,
                                               .id = &a->identity.id,
                                               .issuance = a->issuance,
                                               .events = &a->events,
                                               .hosted = hosted };
    if (e == ERR_OK)
        e = delivery_new(&a->delivery, a->loop, &delivery);
    if (e == ERR_OK)
        e = resolverwatch_new(&a->resolvers, a->loop, a->config, a->identity.id.text, &a->events,
                              on_resolvers, a);
    if (e == ERR_OK)
        e = loop_timer_new(&a->daily, a->loop, on_day, a);
    if (e == ERR_OK)
        e = loop_timer_new(&a->reconnect, a->loop, on_reconnect, a);
    if (e == ERR_OK)
        e = loop_timer_new(&a->control_retry, a->loop, open_control, a);
    if (e == ERR_OK)
        e = loop_timer_new(&a->alive, a->loop, on_alive, a);
    if (e == ERR_OK && !hosted)
        e = watch_signals(a);
    return e;
}

enum err agent_new(struct agent **out, struct loop *l, struct config *config,
                   const char *config_path, const int *listeners, const struct agent_host *host,
                   struct err_info *info)
{
    int fds[CONFIG_LISTENERS_MAX];
    size_t n_fds = config->n_proxies + config->n_pages;
    memcpy(fds, listeners, n_fds * sizeof fds[0]);
    struct agent *a = calloc(1, sizeof *a);
    if (a == NULL)
        config_free(config);
    enum err e = a == NULL ? err_set(info, ERR_NOMEM, "out of memory") : ERR_OK;
    if (e == ERR_OK) {
        a->loop = l;
        a->config = config;
        a->notify.fd = -1;
        if (host != NULL)
            a->host = *host;
        else
            notify_init(&a->notify);
        a->config_path = strdup(config_path);
        e = a->config_path == NULL ? err_set(info, ERR_NOMEM, "out of memory")
                                   : build(a, fds, info);
    }
    for (size_t i = 0; i < n_fds; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    if (e != ERR_OK) {
        agent_free(a);
        return e;
    }
    *out = a;
    return ERR_OK;
}

void agent_start(struct agent *a)
{
    log_info("starting with %zu %s", a->config->n_proxies,
             a->config->n_proxies == 1 ? "proxy" : "proxies");
    log_debug("device %s", a->identity.id.text);
    open_control(a);
    use_certificate(a);
    struct err_info info;
    if (netwatch_new(&a->netwatch, a->loop, NET_QUIET_MS, on_network, a, &info) != ERR_OK)
        log_warn("%s", info.text);
    on_day(a);
    start_portmap(a);
    start_mdns(a);
    use_old_relay(a);
    resolverwatch_look(a->resolvers);
    delivery_start(a->delivery);
    issuance_start(a->issuance);
    notify_ready(&a->notify);
    if (a->notify.watchdog_ms > 0)
        on_alive(a);
}

const char *agent_name(const struct agent *a)
{
    return issuance_name(a->issuance);
}

void agent_renew(struct agent *a)
{
    issuance_renew(a->issuance);
}

void agent_free(struct agent *a)
{
    if (a == NULL)
        return;
    notify_stopping(&a->notify);
    control_free(a->control);
    for (size_t i = 0; i < ARRAY_LEN(a->proxies); i++)
        proxy_free(a->proxies[i]);
    web_free(a->web);
    pairing_free(a->pairing);
    front_free(a->front);
    fallback_clear(&a->fallback);
    netwatch_free(a->netwatch);
    portmap_free(a->portmap);
    mdns_free(a->mdns);
    relayclient_free(a->relay);
    relaywatch_free(a->relays);
    loop_timer_free(a->daily);
    loop_timer_free(a->control_retry);
    loop_timer_free(a->reconnect);
    loop_timer_free(a->alive);
    resolverwatch_free(a->resolvers);
    delivery_free(a->delivery);
    report_free(a->report);
    issuance_free(a->issuance);
    fetch_free(a->pool);
    for (size_t i = 0; i < ARRAY_LEN(a->signals); i++)
        loop_signal_free(a->signals[i]);
    identity_clear(&a->identity);
    config_free(a->config);
    free(a->config_path);
    notify_clear(&a->notify);
    free(a);
}
