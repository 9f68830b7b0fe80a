#include "agent/doctor.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "agent/address.h"
#include "agent/certstore.h"
#include "agent/control.h"
#include "agent/core/clockview.h"
#include "agent/findings.h"
#include "agent/identity.h"
#include "agent/interfaces.h"
#include "agent/journal.h"
#include "agent/probe.h"
#include "agent/servicelook.h"
#include "agent/statedir.h"
#include "common/base/attr.h"
#include "common/base/clock.h"

#define ASK_MS 5000
#define SOCKET_S 5
#define DAY_S 86400

struct doctor {
    const struct config *config;
    struct findings found;
    struct identity identity; /* key NULL: none yet */
    struct certset set;       /* chain NULL: none */
    struct journal journal;
    int64_t now_s; /* as the agent takes it to be, while it is running */
};

static void add_days(char *out, size_t cap, int64_t seconds)
{
    if (seconds >= 2 * DAY_S)
        (void)snprintf(out, cap, "%lld days", (long long)(seconds / DAY_S));
    else
        (void)snprintf(out, cap, "%lld hours", (long long)(seconds / 3600));
}

/* ---- this device ---------------------------------------------------------------------------- */

/* What the agent knows of the router; nothing when no port is asked for. */
static void check_port_mapping(struct doctor *d, const json_t *mapping)
{
    const char *state = json_string_value(json_object_get(mapping, "state"));
    const char *text = json_string_value(json_object_get(mapping, "text"));
    if (state == NULL || text == NULL)
        return;
    bool open = strcmp(state, "open") == 0;
    findings_add(&d->found, open ? FINDING_PASS : FINDING_WARN, "port mapping", "%s%s", text,
                 strcmp(state, "failed") == 0
                     ? ": switch UPnP or NAT-PMP on in the router, or do without port_mapping"
                     : "");
}

static void check_mdns(struct doctor *d, const json_t *mdns)
{
    const char *state = json_string_value(json_object_get(mdns, "state"));
    const char *text = json_string_value(json_object_get(mdns, "text"));
    if (state != NULL && text != NULL)
        findings_add(&d->found, strcmp(state, "failed") == 0 ? FINDING_WARN : FINDING_PASS, "mdns",
                     "%s", text);
}

static void check_report(struct doctor *d, const json_t *report)
{
    const json_t *error = json_object_get(report, "error");
    int64_t next_at = json_integer_value(json_object_get(report, "next_at"));
    int64_t at = json_integer_value(json_object_get(report, "at"));
    char next[CLOCK_TEXT_MAX], last[CLOCK_TEXT_MAX];
    if (!json_is_object(report))
        return; /* not wanted */
    clock_format(next_at, next, sizeof next);
    clock_format(at, last, sizeof last);
    if (json_is_object(error))
        findings_add(&d->found, FINDING_WARN, "report",
                     "the service does not know where this device is: %s; next attempt at %s",
                     json_string_value(json_object_get(error, "text")), next);
    else if (at > 0)
        findings_add(&d->found, FINDING_PASS, "report",
                     "the service was told at %s where this device is; next at %s", last, next);
    else if (next_at > 0)
        findings_add(&d->found, FINDING_PASS, "report", "the first is on its way, at %s", next);
    else
        findings_add(&d->found, FINDING_WARN, "report",
                     "none before the service knows this device: see `status`");
}

static void check_relay(struct doctor *d, const json_t *relay)
{
    const char *name = json_string_value(json_object_get(relay, "name"));
    const char *why = json_string_value(json_object_get(relay, "why"));
    char since[CLOCK_TEXT_MAX];
    clock_format(json_integer_value(json_object_get(relay, "since")), since, sizeof since);
    if (name == NULL)
        findings_add(&d->found, FINDING_WARN, "relay",
                     "the service has named none: ask its operator for one, or set relay = false");
    else if (json_is_true(json_object_get(relay, "connected")))
        findings_add(&d->found, FINDING_PASS, "relay", "%s: connected since %s", name, since);
    else
        findings_add(&d->found, FINDING_WARN, "relay",
                     "%s: not connected since %s (%s): clients elsewhere cannot come by it", name,
                     since, why != NULL ? why : "no reason known");
}

static void check_daemon(struct doctor *d)
{
    char path[PATH_MAX];
    struct err_info info;
    json_t *root = NULL;
    enum err e = statedir_path(path, d->config->state_dir, "control.sock", &info);
    if (e == ERR_OK)
        e = control_ask(&root, path, "status", ASK_MS, &info);
    if (e == ERR_OK)
        findings_add(&d->found, FINDING_PASS, "agent", "running, process %lld",
                     json_integer_value(json_object_get(root, "pid")));
    else if (e == ERR_UNAVAILABLE)
        findings_add(
            &d->found, FINDING_FAIL, "agent",
            "not running: nothing is renewed and no proxy works; start `lanyard-agent run`");
    else
        findings_add(&d->found, FINDING_FAIL, "agent", "%s", info.text);
    if (json_is_integer(json_object_get(root, "now")))
        d->now_s = json_integer_value(json_object_get(root, "now"));
    check_port_mapping(d, json_object_get(root, "port_mapping"));
    check_mdns(d, json_object_get(root, "mdns"));
    check_report(d, json_object_get(root, "report"));
    if (root != NULL && d->config->relay)
        check_relay(d, json_object_get(root, "relay"));
    json_decref(root);
}

static void check_disk(struct doctor *d)
{
    const char *dir = d->config->state_dir;
    struct err_info info;
    struct statvfs fs;
    enum err e = statedir_check(dir, &info);
    if (e == ERR_NOTFOUND)
        findings_add(&d->found, FINDING_WARN, "state folder",
                     "%s is not made yet: the first start makes it", dir);
    else if (e != ERR_OK)
        findings_add(&d->found, FINDING_FAIL, "state folder", "%s", info.text);
    else if (statvfs(dir, &fs) == 0)
        findings_add(&d->found, FINDING_PASS, "state folder", "%s, %llu MB free", dir,
                     (unsigned long long)fs.f_bavail * fs.f_frsize / (1024 * 1024));
}

static void load_state(struct doctor *d)
{
    struct err_info info;
    const char *dir = d->config->state_dir;
    enum err e = identity_load(&d->identity, dir, false, &info);
    if (e == ERR_OK)
        findings_add(&d->found, FINDING_PASS, "identity", "%s", d->identity.id.text);
    else
        findings_add(&d->found, e == ERR_NOTFOUND ? FINDING_WARN : FINDING_FAIL, "identity", "%s",
                     e == ERR_NOTFOUND ? "not made yet: the first start makes it" : info.text);
    if (journal_load(&d->journal, dir, &info) != ERR_OK)
        findings_add(&d->found, FINDING_FAIL, "state", "%s", info.text);
    else if (d->journal.error[0] != 0)
        findings_add(&d->found, FINDING_WARN, "last error", "%s", d->journal.error);
    e = certstore_current(dir, &d->config->access, &d->set, &info);
    if (e != ERR_OK)
        findings_add(&d->found, FINDING_FAIL, "certificate", "%s", info.text);
}

static void check_certificate(struct doctor *d)
{
    const struct certset *set = &d->set;
    int64_t life_s = set->not_after_s - set->not_before_s, left_s = set->not_after_s - d->now_s;
    char left[32];
    if (set->chain == NULL)
        return;
    add_days(left, sizeof left, left_s);
    if (d->now_s < set->not_before_s)
        findings_add(&d->found, FINDING_FAIL, "certificate",
                     "not valid yet: this device's clock is behind");
    else if (left_s <= 0)
        findings_add(&d->found, FINDING_FAIL, "certificate",
                     "expired: clients get the local certificate; see the service's line");
    else if (left_s < life_s / 4)
        findings_add(&d->found, FINDING_WARN, "certificate",
                     "%s left, and not renewed yet; see the service's line", left);
    else
        findings_add(&d->found, FINDING_PASS, "certificate", "%s, %s left", set->name, left);
}

/* ---- addresses ------------------------------------------------------------------------------- */

struct sentence {
    char text[FINDING_TEXT_MAX];
    size_t len;
};

/* Adds words; what does not fit is left out. */
static void say(struct sentence *s, const char *separator, const char *ip, const char *what)
{
    size_t room = sizeof s->text - s->len;
    int n = snprintf(s->text + s->len, room, "%s%s (%s)", s->len > 0 ? separator : "", ip, what);
    if (n > 0 && (size_t)n < room)
        s->len += (size_t)n;
    else
        s->text[s->len] = 0;
}

static void check_addresses(struct doctor *d)
{
    struct worth_address all[INTERFACES_MAX];
    struct worth_pick picks[ADDRESS_MAX];
    struct sentence told = { .len = 0 }, out = { .len = 0 };
    char ip[WORTH_TEXT_MAX];
    size_t n = address_worth(d->config, picks, ADDRESS_MAX);
    for (size_t i = 0; i < n; i++) {
        worth_format(&picks[i].ip, ip);
        say(&told, ", ", ip, worth_kind_name(picks[i].kind));
    }
    if (n == 0)
        findings_add(&d->found, FINDING_WARN, "addresses",
                     "none that others could come by: is the network up?");
    else
        findings_add(&d->found, FINDING_PASS, "addresses", "%s", told.text);
    n = d->config->addresses_auto ? interfaces_list(all, INTERFACES_MAX) : 0;
    for (size_t i = 0; i < n; i++) {
        enum worth w = worth_judge(&all[i], d->config->vpn_addresses);
        /* every device has those of the first two kinds */
        if (w == WORTH_YES || w == WORTH_NO_LOOPBACK || w == WORTH_NO_FORBIDDEN)
            continue;
        worth_format(&all[i].ip, ip);
        say(&out, "; ", ip, worth_text(w));
    }
    if (out.len > 0)
        findings_add(&d->found, FINDING_PASS, "addresses left out", "%s", out.text);
}

/* ---- the service ---------------------------------------------------------------------------- */

/* When the agent last wrote something down; 0: never. */
static int64_t last_noted(const struct doctor *d)
{
    static const char *const NAMES[] = { "state.json", "report.json" };
    int64_t last = 0;
    for (size_t i = 0; i < ARRAY_LEN(NAMES); i++) {
        char path[PATH_MAX];
        struct stat st;
        if (statedir_path(path, d->config->state_dir, NAMES[i], NULL) == ERR_OK &&
            stat(path, &st) == 0 && st.st_mtim.tv_sec > last)
            last = st.st_mtim.tv_sec;
    }
    return last;
}

static void check_clock(struct doctor *d, const struct servicelook *seen)
{
    static const enum finding_result RESULTS[] = {
        [CLOCKVIEW_RIGHT] = FINDING_PASS,
        [CLOCKVIEW_DOUBTFUL] = FINDING_WARN,
        [CLOCKVIEW_WRONG] = FINDING_FAIL,
    };
    const struct clockview_facts facts = {
        .now_s = clock_now_s(),
        .service_s = seen->date_s,
        .service_from_s = seen->from_s,
        .service_to_s = seen->to_s,
        .built_s = LANYARD_BUILT_S,
        .cert_from_s = d->set.not_before_s,
        .cert_to_s = d->set.not_after_s,
        .noted_s = last_noted(d),
    };
    char text[CLOCKVIEW_TEXT_MAX];
    enum clockview v = clockview_judge(&facts, text);
    findings_add(&d->found, RESULTS[v], "clock", "%s", text);
}

static enum err check_service(struct doctor *d, struct err_info *info)
{
    struct servicelook seen;
    enum err e = servicelook_run(&seen, d->config, &d->identity, info);
    if (e != ERR_OK)
        return e;
    if (seen.e != ERR_OK)
        findings_add(&d->found, FINDING_FAIL, "service", "%s", seen.info.text);
    else if (seen.status >= 500)
        findings_add(&d->found, FINDING_WARN, "service", "%s is there but in trouble: HTTP %d",
                     d->config->server, seen.status);
    else
        findings_add(&d->found, FINDING_PASS, "service", "%s answers", d->config->server);
    check_clock(d, &seen);
    return ERR_OK;
}

/* ---- the resolvers -------------------------------------------------------------------------- */

static void add_resolver(struct doctor *d, const struct verdict_resolver *v)
{
    char check[96];
    const char *text = verdict_class_text(v->v4);
    bool bad = verdict_is_filter(v->v4) || v->v4 == VERDICT_BLOCKED;
    (void)snprintf(check, sizeof check, "resolver %s", v->address);
    if (v->n_cures > 0)
        findings_add(&d->found, bad ? FINDING_FAIL : FINDING_WARN, check,
                     "%s: `lanyard-agent probe` says what to do (%s?)", text, v->cures[0]->title);
    else
        findings_add(&d->found, v->v4 == VERDICT_OK ? FINDING_PASS : FINDING_WARN, check, "%s",
                     text);
}

static enum err check_resolvers(struct doctor *d, struct err_info *info)
{
    struct verdict_report *r = NULL;
    if (d->identity.key == NULL)
        return ERR_OK;
    enum err e = probe_once(&r, d->config, d->identity.id.text, info);
    for (size_t i = 0; e == ERR_OK && i < r->n; i++)
        add_resolver(d, &r->list[i]);
    if (e == ERR_OK && r->n == 0)
        findings_add(&d->found, FINDING_WARN, "resolver", "this device knows none to ask");
    free(r);
    return e;
}

/* ---- what clients and applications see ------------------------------------------------------- */

/* A connected socket with a limit on each of its steps, or -1 with errno. */
static int connect_to(const struct sockaddr *sa, socklen_t len)
{
    const struct timeval limit = { .tv_sec = SOCKET_S };
    int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd, sa, len) == 0)
        return fd;
    int error = errno == EINPROGRESS ? ETIMEDOUT : errno;
    close(fd);
    errno = error;
    return -1;
}

/* The certificate that is served on `fd` to who asks for `name`; NULL when there is none. */
static X509 *served_on(int fd, const char *name)
{
    X509 *leaf = NULL;
    char host[512]; /* OpenSSL's macro casts const away */
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
    SSL *ssl = tls != NULL ? SSL_new(tls) : NULL;
    (void)snprintf(host, sizeof host, "%s", name);
    if (ssl != NULL && SSL_set_fd(ssl, fd) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1 &&
        SSL_connect(ssl) == 1)
        leaf = SSL_get1_peer_certificate(ssl);
    ERR_clear_error();
    SSL_free(ssl);
    SSL_CTX_free(tls);
    return leaf;
}

/* An address that a client on this device can use: the loopback one for a wildcard. */
static void make_reachable(struct sockaddr_storage *ss)
{
    struct sockaddr_in sin;
    struct sockaddr_in6 sin6;
    memcpy(&sin, ss, sizeof sin);
    memcpy(&sin6, ss, sizeof sin6);
    if (ss->ss_family == AF_INET && sin.sin_addr.s_addr == htonl(INADDR_ANY)) {
        sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        memcpy(ss, &sin, sizeof sin);
    } else if (ss->ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&sin6.sin6_addr)) {
        sin6.sin6_addr = in6addr_loopback;
        memcpy(ss, &sin6, sizeof sin6);
    }
}

static void check_served(struct doctor *d, const char *what, const struct addr *at)
{
    char check[96], text[ADDR_TEXT_MAX], name[256]; /* a DNS name has at most 253 */
    struct sockaddr_storage ss = at->ss;
    addr_format(at, text);
    (void)snprintf(check, sizeof check, "%s %s", what, text);
    make_reachable(&ss);
    int fd = connect_to((const struct sockaddr *)&ss, at->len);
    if (fd < 0) {
        findings_add(&d->found, FINDING_FAIL, check, "cannot be reached: %s", strerror(errno));
        return;
    }
    (void)snprintf(name, sizeof name, "check.%s.%s", d->identity.id.text, d->config->zone);
    X509 *leaf = served_on(fd, name);
    close(fd);
    if (leaf == NULL)
        findings_add(&d->found, FINDING_FAIL, check, "does not speak TLS");
    else if (d->set.chain == NULL)
        findings_add(&d->found, FINDING_WARN, check,
                     "speaks TLS; there is no certificate to "
                     "compare with yet");
    else if (X509_cmp(leaf, sk_X509_value(d->set.chain, 0)) != 0)
        findings_add(&d->found, FINDING_FAIL, check,
                     "serves another certificate than the one in place: reload it");
    else
        findings_add(&d->found, FINDING_PASS, check, "serves the certificate in place");
    X509_free(leaf);
}

static void check_backend(struct doctor *d, const struct config_proxy *p)
{
    char check[96];
    (void)snprintf(check, sizeof check, "backend %s", p->backend_text);
    int fd = connect_to((const struct sockaddr *)&p->backend, p->backend_len);
    if (fd < 0) {
        findings_add(&d->found, FINDING_FAIL, check, "cannot be reached: %s: is it running?",
                     strerror(errno));
        return;
    }
    close(fd);
    findings_add(&d->found, FINDING_PASS, check, "accepts connections");
}

static void check_hook(struct doctor *d)
{
    const struct hook_result *h = &d->journal.hook;
    const char *check = config_reload(d->config);
    if (check == NULL || h->generation == 0)
        return;
    if (h->timed_out)
        findings_add(&d->found, FINDING_FAIL, check, "was stopped at its time limit");
    else if (h->exit_status < 0)
        findings_add(&d->found, FINDING_FAIL, check, "failed: %.200s", h->output);
    else if (h->exit_status != 0)
        findings_add(&d->found, FINDING_FAIL, check,
                     "failed with exit status %d; its "
                     "output is in `status`",
                     h->exit_status);
    else
        findings_add(&d->found, FINDING_PASS, check, "went well the last time");
}

enum err doctor_run(const struct config *c, bool json, bool *healthy, struct err_info *info)
{
    struct doctor *d = calloc(1, sizeof *d);
    if (d == NULL)
        return err_set(info, ERR_NOMEM, "out of memory");
    d->config = c;
    d->now_s = clock_now_s();
    check_daemon(d);
    check_disk(d);
    load_state(d);
    check_addresses(d);
    enum err e = check_service(d, info);
    if (e == ERR_OK)
        e = check_resolvers(d, info);
    if (e == ERR_OK) {
        check_certificate(d);
        check_hook(d);
        for (size_t i = 0; i < c->n_proxies; i++) {
            check_served(d, "proxy", &c->proxies[i].listen);
            check_backend(d, &c->proxies[i]);
        }
        if (c->check_served)
            check_served(d, "application", &c->served_at);
        findings_print(&d->found, json, stdout);
        *healthy = findings_are_good(&d->found);
    }
    certset_clear(&d->set);
    identity_clear(&d->identity);
    free(d);
    return e;
}
