#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "provisiond/core/admission.h"
#include "provisiond/discovery/visit.h"

#define PREFIX "/v1/"
#define DEVICE_PREFIX "/v1/devices/"
#define SLOTS 65536
#define BURST_S 30           /* of what web_per_minute allows */
#define PREFLIGHT_AGE "7200" /* seconds; browsers take no more */

enum rule {
    RULE_NONE = 0, /* forgotten: the program does not start */
    RULE_ANYBODY,  /* the network that it comes from is all that counts */
    RULE_CODE,     /* a code that a device shows, and limits to guessing */
    RULE_VIEWER,   /* a viewer token or an account: the route identifies it */
    RULE_ACCOUNT,  /* an account: the route identifies it */
};

struct route {
    const char *method, *path; /* {id} at the end takes one segment */
    enum rule rule;
    void (*fn)(struct visit *v);
};

static const struct route ROUTES[] = {
    { "GET", "/v1/nearby", RULE_ANYBODY, visit_nearby },
    { "POST", "/v1/pair", RULE_CODE, visit_pair },
    { "GET", "/v1/devices", RULE_ACCOUNT, visit_list_devices },
    { "POST", "/v1/devices", RULE_ACCOUNT, visit_adopt_device },
    { "GET", "/v1/devices/{id}", RULE_VIEWER, visit_show_device },
    { "DELETE", "/v1/devices/{id}", RULE_VIEWER, visit_leave_device },
};

static struct gcra_rate rate(int64_t events, int64_t period_ms, int64_t burst)
{
    return (struct gcra_rate){ period_ms / events > 0 ? period_ms / events : 1,
                               burst > 0 ? burst : 1 };
}

enum err discovery_new(struct discovery **out, const struct discovery_parts *parts,
                       struct err_info *info)
{
    for (size_t i = 0; i < ARRAY_LEN(ROUTES); i++) {
        if (ROUTES[i].rule == RULE_NONE)
            return err_set(info, ERR_ILLEGAL, "route %s has no rule of who may call it: a defect",
                           ROUTES[i].path);
    }
    struct discovery *d = calloc(1, sizeof *d);
    if (d == NULL)
        return err_set(info, ERR_NOMEM, "out of memory");
    int64_t web = parts->config->web_per_minute, pair = parts->config->pair_per_hour;
    d->parts = *parts;
    (void)err_set(info, ERR_NOMEM, "out of memory");
    enum err e = gcra_table_new(&d->web_limit, SLOTS, rate(web, 60000, web * BURST_S / 60));
    if (e == ERR_OK)
        e = gcra_table_new(&d->pair_limit, SLOTS, rate(pair, 3600000, pair));
    if (e == ERR_OK)
        e = gcra_table_new(&d->pair_limit_net, SLOTS, rate(10 * pair, 3600000, 10 * pair));
    if (e == ERR_OK)
        e = oidckeys_new(&d->keys, parts->loop, parts->config, info);
    if (e != ERR_OK) {
        discovery_free(d);
        return e;
    }
    *out = d;
    return ERR_OK;
}

void discovery_free(struct discovery *d)
{
    if (d == NULL)
        return;
    gcra_table_free(d->web_limit);
    gcra_table_free(d->pair_limit);
    gcra_table_free(d->pair_limit_net);
    oidckeys_free(d->keys);
    free(d);
}

/* --- which route --- */

bool discovery_has(const struct httpd_req *r)
{
    return strncmp(httpd_path(r), PREFIX, sizeof PREFIX - 1) == 0;
}

static bool is_path(const struct route *route, const char *path)
{
    size_t len = sizeof DEVICE_PREFIX - 1;
    if (strncmp(route->path, DEVICE_PREFIX, len) != 0)
        return strcmp(route->path, path) == 0;
    return strncmp(path, DEVICE_PREFIX, len) == 0 && path[len] != 0 &&
           strchr(path + len, '/') == NULL;
}

static bool is_method(const struct route *route, const char *method)
{
    return strcmp(route->method, method) == 0 ||
           (strcmp(route->method, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

/* NULL when there is none; `allow` then lists what the path knows, "" for a path that is none. */
static const struct route *find_route(const struct httpd_req *r, char *allow, size_t cap)
{
    allow[0] = 0;
    for (size_t i = 0; i < ARRAY_LEN(ROUTES); i++) {
        if (!is_path(&ROUTES[i], httpd_path(r)))
            continue;
        if (is_method(&ROUTES[i], httpd_method(r)))
            return &ROUTES[i];
        size_t len = strlen(allow);
        (void)snprintf(allow + len, cap - len, "%s, ", ROUTES[i].method);
    }
    if (allow[0] != 0)
        (void)snprintf(allow + strlen(allow), cap - strlen(allow), "OPTIONS");
    return NULL;
}

/* --- other origins --- */

/* Whether pages of `origin` may ask: those of this listener always. */
static bool is_allowed(const struct discovery *d, const struct httpd_req *r, const char *origin)
{
    const struct config *c = d->parts.config;
    const char *host = httpd_header(r, "Host");
    if (c->n_web_origins == 0)
        return true;
    for (size_t i = 0; i < c->n_web_origins; i++)
        if (strcmp(c->web_origins[i], origin) == 0)
            return true;
    return host != NULL && strncmp(origin, "https://", 8) == 0 && strcmp(origin + 8, host) == 0;
}

/* Lets the page read the answer. False when it may not even ask. Credentials of the browser
 * (cookies, certificates) are never allowed, and never looked at. */
static bool check_origin(const struct discovery *d, struct httpd_req *r)
{
    const char *origin = httpd_header(r, "Origin");
    bool any = d->parts.config->n_web_origins == 0;
    if (!any)
        httpd_add_header(r, "Vary", "Origin");
    if (origin == NULL) /* no page of another origin */
        return true;
    if (!is_allowed(d, r, origin))
        return false;
    httpd_add_header(r, "Access-Control-Allow-Origin", any ? "*" : origin);
    httpd_add_header(r, "Access-Control-Expose-Headers", "Retry-After");
    return true;
}

static void answer_preflight(struct discovery *d, struct httpd_req *r, const char *allow)
{
    requeststats_count(&d->stats, NULL, NULL, 204, NULL);
    httpd_add_header(r, "Allow", allow);
    httpd_add_header(r, "Access-Control-Allow-Methods", allow);
    httpd_add_header(r, "Access-Control-Allow-Headers", "Authorization, Content-Type");
    httpd_add_header(r, "Access-Control-Max-Age", PREFLIGHT_AGE);
    httpd_respond(r, 204, NULL, (struct span){ NULL, 0 });
}

/* --- dispatch --- */

/* Ends a request that has no route, or no memory for a visit. */
static void refuse(struct discovery *d, struct httpd_req *r, int status, const char *type,
                   const char *detail, int64_t retry_after_s)
{
    requeststats_count(&d->stats, NULL, NULL, status, type);
    httpd_problem(r, status, type, detail, retry_after_s);
}

/* 0, or the seconds until this household may ask again. */
static int64_t wait_s(struct discovery *d, const struct httpd_req *r)
{
    uint8_t prefix[8];
    struct span ip = addr_ip((const struct sockaddr *)&httpd_peer(r)->ss);
    struct span key = { prefix, admission_prefix(ip, ADMISSION_NET_HOME, prefix) };
    int64_t ms = gcra_table_take(d->web_limit, key, clock_mono_ms());
    return ms > 0 ? ms / 1000 + 1 : 0;
}

static void on_gone(void *arg)
{
    struct visit *v = arg;
    v->req = NULL;
    if (v->wait.head != NULL) /* no job is under way */
        visit_respond(v, 0, NULL);
}

/* A body is JSON and says so: a page of another origin then has to ask first (a preflight). */
static bool has_json(const struct httpd_req *r)
{
    static const char JSON[] = "application/json";
    const char *type = httpd_header(r, "Content-Type");
    return type != NULL &&
           span_is_nocase((struct span){ (const uint8_t *)type, strcspn(type, "; \t") }, JSON);
}

static void dispatch(struct discovery *d, struct httpd_req *r, const struct route *route)
{
    struct visit *v = calloc(1, sizeof *v);
    if (v == NULL) {
        refuse(d, r, 503, "unavailable", "out of memory: try again", 10);
        return;
    }
    v->d = d;
    v->method = route->method;
    v->path = route->path;
    v->req = r;
    v->peer = *httpd_peer(r);
    const char *id = strrchr(httpd_path(r), '/') + 1;
    if (devid_is_valid(span_str(id)))
        (void)snprintf(v->id, sizeof v->id, "%s", id);
    httpd_on_gone(r, on_gone, v);
    if (!network_ip(&v->from, addr_ip((const struct sockaddr *)&v->peer.ss)))
        visit_problem(v, 500, NULL, "the connection has no address", 0);
    else if (strcmp(route->method, "POST") == 0 && !has_json(r))
        visit_problem(v, 415, "media-type", "the body must be application/json", 0);
    else
        route->fn(v);
}

void discovery_on_request(struct discovery *d, struct httpd_req *r)
{
    char allow[64];
    const struct route *route = find_route(r, allow, sizeof allow);
    bool may_ask = check_origin(d, r);
    int64_t s = wait_s(d, r);
    httpd_add_header(r, "Cache-Control", "no-store");
    if (!may_ask) {
        refuse(d, r, 403, "origin", "pages of that origin may not use this service", 0);
    } else if (s > 0) {
        refuse(d, r, 429, "rate-limited", "too many requests from this network", s);
    } else if (route != NULL) {
        dispatch(d, r, route);
    } else if (allow[0] == 0) {
        refuse(d, r, 404, "no-such-resource", "there is nothing at this path", 0);
    } else if (strcmp(httpd_method(r), "OPTIONS") == 0) {
        answer_preflight(d, r, allow);
    } else {
        httpd_add_header(r, "Allow", allow); /* [RFC 9110 s15.5.6] */
        refuse(d, r, 405, "method", "this resource does not know that method", 0);
    }
}

void discovery_write_metrics(const struct discovery *d, struct buf *out)
{
    static const char PAIRINGS[] = "lanyard_provisiond_pairings_total";
    static const char FETCHES[] = "lanyard_provisiond_oidc_fetches_total";
    static const char *const RESULTS[] = {
        [PAIRING_TAKEN] = "paired", [PAIRING_WRONG] = "wrong", [PAIRING_CLOSED] = "closed"
    };
    const struct oidckeys_counts *keys = oidckeys_counts(d->keys);
    requeststats_write(&d->stats, "lanyard_provisiond_web_requests_total",
                       "Requests of browsers by route, status and kind of problem.", out);
    metric_put_head(out, PAIRINGS, "counter",
                    "Pairing codes tried: right, wrong, and not looked at as too many were wrong.");
    for (size_t i = 0; i < ARRAY_LEN(RESULTS); i++) {
        const struct metric_label label = { "result", RESULTS[i] };
        metric_put(out, PAIRINGS, &label, 1, metric_get(&d->pairings[i]));
    }
    metric_put_head(out, FETCHES, "counter", "Key sets fetched from the vendors' issuers.");
    const struct metric_label ok = { "result", "ok" }, failed = { "result", "failed" };
    metric_put(out, FETCHES, &ok, 1, metric_get(&keys->fetched));
    metric_put(out, FETCHES, &failed, 1, metric_get(&keys->failed));
}
