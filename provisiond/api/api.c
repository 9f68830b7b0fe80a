#include "provisiond/api/api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "provisiond/api/admit.h"

#define ENROLL_SLOTS 16384
#define EST_PREFIX "/.well-known/est/"
#define PATH_MAX_LEN 512 /* bytes; a longer path is none of ours */
#define LABEL_MAX_LEN 256
#define REQUEST_SLOTS 65536
#define REQUEST_BURST 30      /* requests of one identity at once ... */
#define REQUEST_EVERY_MS 1000 /* ... and one a second in the long run */

enum rule {
    RULE_NONE = 0, /* forgotten: the program does not start */
    RULE_ANYONE,   /* with or without an identity: what it answers is public */
    RULE_IDENTITY, /* any P-256 key, admitted or not */
    RULE_DEVICE,   /* as RULE_IDENTITY here; the route's transaction checks that it is admitted */
};

struct route {
    const char *method, *path;
    enum rule rule;
    void (*fn)(struct call *c);
};

static const struct route ROUTES[] = {
    { "POST", "/v1/enroll", RULE_IDENTITY, post_enroll },
    { "POST", "/v1/certificate", RULE_DEVICE, post_certificate },
    { "GET", "/v1/certificate", RULE_DEVICE, get_certificate },
    { "POST", "/v1/revoke", RULE_DEVICE, post_revoke },
    { "GET", "/v1/renewal", RULE_DEVICE, get_renewal },
    { "PUT", "/v1/report", RULE_DEVICE, put_report },
    { "DELETE", "/v1/device", RULE_DEVICE, delete_device },
    { "POST", "/v1/pairing", RULE_DEVICE, post_pairing },
    { "DELETE", "/v1/viewers", RULE_DEVICE, delete_viewers },
    { "GET", "/.well-known/est/cacerts", RULE_ANYONE, get_est_cacerts },
    { "GET", "/.well-known/est/csrattrs", RULE_ANYONE, get_est_csrattrs },
    { "POST", "/.well-known/est/simpleenroll", RULE_IDENTITY, post_est_simpleenroll },
    { "POST", "/.well-known/est/simplereenroll", RULE_DEVICE, post_est_simplereenroll },
};

static struct gcra_rate enroll_rate(int64_t per_hour)
{
    return (struct gcra_rate){ 3600000 / per_hour > 0 ? 3600000 / per_hour : 1, per_hour };
}

enum err api_new(struct api **out, const struct api_parts *parts, struct err_info *info)
{
    for (size_t i = 0; i < ARRAY_LEN(ROUTES); i++) {
        if (ROUTES[i].rule == RULE_NONE)
            return err_set(info, ERR_ILLEGAL, "route %s has no rule of who may call it: a defect",
                           ROUTES[i].path);
    }
    struct api *a = calloc(1, sizeof *a);
    if (a == NULL)
        return err_set(info, ERR_NOMEM, "out of memory");
    a->parts = *parts;
    struct gcra_rate request = { REQUEST_EVERY_MS, REQUEST_BURST };
    enum err e =
        gcra_table_new(&a->enroll_limit, ENROLL_SLOTS, enroll_rate(parts->config->enroll_per_hour));
    if (e == ERR_OK)
        e = gcra_table_new(&a->enroll_limit_net, ENROLL_SLOTS,
                           enroll_rate(parts->config->enroll_per_hour_net));
    if (e == ERR_OK)
        e = gcra_table_new(&a->request_limit, REQUEST_SLOTS, request);
    if (e == ERR_OK)
        e = admitlists_new(&a->lists, parts->loop, parts->config, info);
    else
        (void)err_set(info, e, "out of memory");
    if (e != ERR_OK) {
        api_free(a);
        return e;
    }
    *out = a;
    return ERR_OK;
}

void api_free(struct api *a)
{
    if (a == NULL)
        return;
    gcra_table_free(a->enroll_limit);
    gcra_table_free(a->enroll_limit_net);
    gcra_table_free(a->request_limit);
    admitlists_free(a->lists);
    free(a);
}

/* The path as in the table. EST may put a label, here the name of a zone, before the operation: it
 * is taken out, into label. [RFC 7030 s3.2.2] */
static void split_label(const char *path, char out[PATH_MAX_LEN], char label[LABEL_MAX_LEN])
{
    size_t n = strlen(EST_PREFIX);
    label[0] = 0;
    (void)snprintf(out, PATH_MAX_LEN, "%s", path);
    const char *slash = strncmp(path, EST_PREFIX, n) == 0 ? strchr(path + n, '/') : NULL;
    if (slash == NULL || slash == path + n || (size_t)(slash - path) - n >= LABEL_MAX_LEN)
        return;
    (void)snprintf(label, LABEL_MAX_LEN, "%.*s", (int)(slash - path - (ptrdiff_t)n), path + n);
    (void)snprintf(out, PATH_MAX_LEN, EST_PREFIX "%s", slash + 1);
}

static const struct route *find_route(struct httpd_req *r, const char *path, bool *path_known)
{
    *path_known = false;
    for (size_t i = 0; i < ARRAY_LEN(ROUTES); i++) {
        if (strcmp(ROUTES[i].path, path) != 0)
            continue;
        *path_known = true;
        if (strcmp(ROUTES[i].method, httpd_method(r)) == 0)
            return &ROUTES[i];
    }
    return NULL;
}

/* Ends a request that has no route, or no memory for a call. */
static void refuse(struct api *a, struct httpd_req *r, int status, const char *type,
                   const char *detail, int64_t retry_after_s)
{
    requeststats_count(&a->stats, NULL, NULL, status, type);
    httpd_problem(r, status, type, detail, retry_after_s);
}

static void on_gone(void *arg)
{
    struct call *c = arg;
    c->req = NULL;
    if (c->waiting)
        call_respond(c, 0, NULL, (struct span){ NULL, 0 }); /* nobody waits: only frees */
}

/* The caller's identity from the key of the connection. */
static enum err identify(struct call *c)
{
    char group[32] = "";
    size_t len;
    EVP_PKEY *key = httpd_peer_key(c->req);
    if (key == NULL)
        return ERR_DENIED;
    if (!EVP_PKEY_is_a(key, "EC") || EVP_PKEY_get_group_name(key, group, sizeof group, &len) != 1 ||
        strcmp(group, "prime256v1") != 0)
        return ERR_RANGE;
    enum err e = devid_pubkey_hash(c->spki_sha256, httpd_peer_pubkey(c->req));
    if (e == ERR_OK)
        devid_from_hash(&c->id, c->spki_sha256);
    return e;
}

/* Who has no identity is limited by its network. */
static int64_t request_wait_ms(struct call *c)
{
    uint8_t prefix[8];
    struct span key = span_str(c->id.text);
    if (c->anonymous)
        key = (struct span){ prefix, admission_prefix(addr_ip((const struct sockaddr *)&c->peer.ss),
                                                      ADMISSION_NET_HOME, prefix) };
    return gcra_table_take(c->api->request_limit, key, clock_mono_ms());
}

static void dispatch(struct api *a, struct httpd_req *r, const struct route *route,
                     const char *label)
{
    struct call *c = calloc(1, sizeof *c);
    if (c == NULL) {
        refuse(a, r, 503, "unavailable", "out of memory: try again", 10);
        return;
    }
    c->api = a;
    c->method = route->method;
    c->path = route->path;
    c->req = r;
    buf_init(&c->chain, 128 * 1024);
    c->peer = *httpd_peer(r);
    (void)snprintf(c->label, sizeof c->label, "%s", label);
    httpd_on_gone(r, on_gone, c);
    enum err e = identify(c);
    if (e != ERR_OK && route->rule == RULE_ANYONE) {
        c->anonymous = true;
        e = ERR_OK;
    }
    if (e == ERR_DENIED) {
        call_problem(c, 403, "no-identity",
                     "connect with a certificate over the device's identity key", 0);
        return;
    }
    if (e != ERR_OK) {
        call_problem(c, 403, "identity-key-type", "the identity key must be an EC P-256 key", 0);
        return;
    }
    int64_t wait_ms = request_wait_ms(c);
    if (wait_ms > 0) {
        call_problem(c, 429, "rate-limited", "too many requests of this device",
                     wait_ms / 1000 + 1);
        return;
    }
    route->fn(c);
}

static void refuse_method(struct api *a, struct httpd_req *r, const char *path)
{
    char allow[64] = "";
    for (size_t i = 0; i < ARRAY_LEN(ROUTES); i++) {
        size_t len = strlen(allow);
        if (strcmp(ROUTES[i].path, path) == 0)
            (void)snprintf(allow + len, sizeof allow - len, "%s%s", len > 0 ? ", " : "",
                           ROUTES[i].method);
    }
    httpd_add_header(r, "Allow", allow); /* [RFC 9110 s15.5.6] */
    refuse(a, r, 405, "method", "this resource does not know that method", 0);
}

void api_on_device_request(void *api, struct httpd_req *r)
{
    bool path_known;
    char path[PATH_MAX_LEN], label[LABEL_MAX_LEN];
    split_label(httpd_path(r), path, label);
    const struct route *route = find_route(r, path, &path_known);
    if (route != NULL)
        dispatch(api, r, route, label);
    else if (path_known)
        refuse_method(api, r, path);
    else
        refuse(api, r, 404, "no-such-resource", "there is nothing at this path", 0);
}

void api_reload_lists(struct api *a)
{
    admitlists_reload(a->lists);
}

void api_write_metrics(const struct api *a, struct buf *out)
{
    static const char STALE[] = "lanyard_provisiond_lists_stale";
    requeststats_write(&a->stats, "lanyard_provisiond_requests_total",
                       "Requests of devices by route, status and kind of problem. Combinations "
                       "that never occurred are left out; route none is a path that does not "
                       "exist.",
                       out);
    metric_put_head(out, STALE, "gauge",
                    "1 while a file of blocked_keys, allow_devices, deny_devices or factory_ca "
                    "cannot be read and the lists of before are in force.");
    metric_put(out, STALE, NULL, 0, admitlists_stale(a->lists));
}
