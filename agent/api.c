#include "agent/api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "agent/timekeeper.h"
#include "common/base/clock.h"
#include "common/net/fetch.h"

#define TIMEOUT_MS 30000
#define POLL_WAIT_S "55" /* of the service's 60: it answers before any deadline on the way */
#define POLL_TIMEOUT_MS 80000
#define CONNECTIONS_MAX 6 /* a question, a report by each family, the relay, and a look at one */
#define RETRY_AFTER_MAX_S 86400

struct api {
    struct loop *loop;
    struct fetch *pool;
    struct fetch_op *op; /* NULL: nothing under way */
    struct loop_timer *not_started;
    char *server;
    enum answer_call call;
    api_fn *fn;
    void *arg;
};

static void give(struct api *a, const struct api_result *res)
{
    a->op = NULL;
    a->fn(a->arg, res);
}

static void on_not_started(void *arg)
{
    struct api_result res = { .retry_after_s = -1 };
    (void)err_set(&res.answer.info, ERR_NOMEM, "the request could not be started");
    give(arg, &res);
}

static void on_fetched(void *arg, const struct fetch_result *res)
{
    struct api *a = arg;
    struct api_result out = { .retry_after_s = -1 };
    if (res->e == ERR_OK) {
        answer_parse(&out.answer, a->call, res->status, fetch_header(res, "Content-Type"),
                     res->body);
        int64_t date_s = fetch_date(res); /* the clock that named the time */
        out.retry_after_s =
            fetch_retry_after(res, date_s > 0 ? date_s : clock_now_s(), RETRY_AFTER_MAX_S, -1);
    } else {
        out.answer = (struct answer){ .kind = ANSWER_FAILED, .info = res->info, .retry_in_s = -1 };
    }
    give(a, &out);
}

static void start(struct api *a, enum answer_call call, const struct fetch_request *r,
                  const char *path, api_fn *fn, void *arg)
{
    char url[600];
    struct fetch_request req = *r;
    api_cancel(a);
    a->call = call;
    a->fn = fn;
    a->arg = arg;
    (void)snprintf(url, sizeof url, "%s%s", a->server, path);
    req.url = url;
    req.body_max = ANSWER_BODY_MAX;
    if (req.timeout_ms == 0)
        req.timeout_ms = TIMEOUT_MS;
    if (fetch_start(a->pool, &req, on_fetched, a, &a->op) != ERR_OK) {
        a->op = NULL;
        loop_timer_set(a->not_started, 0);
    }
}

static int64_t now_s(void *arg)
{
    return timekeeper_now_s(arg);
}

static void on_date(void *arg, int64_t date_s)
{
    timekeeper_hear(arg, date_s);
}

enum err api_pool_new(struct fetch **out, struct loop *l, const char *ca_file,
                      const struct identity *id, struct truetime *time, struct err_info *info)
{
    const struct fetch_clock clock = { now_s, on_date, time };
    struct fetch_options o = {
        .user_agent = "lanyard-agent/" LANYARD_VERSION,
        .ca_file = ca_file,
        .client_key = id->key,
        .client_cert = id->cert,
        .tls13_only = true,
        .built_s = LANYARD_BUILT_S,
        .clock = time != NULL ? &clock : NULL,
        .connections_max = CONNECTIONS_MAX,
    };
    return fetch_new(out, l, &o, info);
}

enum err api_new(struct api **out, struct loop *l, struct fetch *pool, const char *server)
{
    struct api *a = calloc(1, sizeof *a);
    if (a == NULL)
        return ERR_NOMEM;
    a->loop = l;
    a->pool = pool;
    a->server = strdup(server);
    enum err e = a->server == NULL ? ERR_NOMEM : ERR_OK;
    if (e == ERR_OK)
        e = loop_timer_new(&a->not_started, l, on_not_started, a);
    if (e != ERR_OK) {
        api_free(a);
        return e;
    }
    *out = a;
    return ERR_OK;
}

void api_enroll(struct api *a, const struct api_enrolment *what, api_fn *fn, void *arg)
{
    static const char *const HEADERS[] = { "Content-Type: application/json", NULL };
    json_t *root =
        json_pack("{ss ss* ss* ss*}", "zone", what->zone, "token", what->token, "factory_chain",
                  what->factory_chain, "factory_proof", what->factory_proof);
    char *text = root != NULL ? json_dumps(root, JSON_COMPACT) : NULL;
    struct fetch_request r = { .method = "POST",
                               .headers = HEADERS,
                               .body = span_str(text != NULL ? text : "") };
    start(a, ANSWER_ENROLL, &r, "/v1/enroll", fn, arg);
    free(text);
    json_decref(root);
}

void api_submit(struct api *a, struct span csr_pem, api_fn *fn, void *arg)
{
    static const char *const HEADERS[] = { "Content-Type: application/pkcs10", NULL };
    struct fetch_request r = { .method = "POST", .headers = HEADERS, .body = csr_pem };
    start(a, ANSWER_SUBMIT, &r, "/v1/certificate", fn, arg);
}

void api_poll(struct api *a, api_fn *fn, void *arg)
{
    struct fetch_request r = { .method = "GET", .timeout_ms = POLL_TIMEOUT_MS };
    start(a, ANSWER_POLL, &r, "/v1/certificate?wait=" POLL_WAIT_S, fn, arg);
}

void api_renewal(struct api *a, api_fn *fn, void *arg)
{
    struct fetch_request r = { .method = "GET" };
    start(a, ANSWER_RENEWAL, &r, "/v1/renewal", fn, arg);
}

void api_report(struct api *a, const struct api_way *way, struct span json, api_fn *fn, void *arg)
{
    static const char *const HEADERS[] = { "Content-Type: application/json", NULL };
    struct fetch_request r = { .method = "PUT",
                               .headers = HEADERS,
                               .body = json,
                               .family = way->family,
                               .source = way->source };
    start(a, ANSWER_REPORT, &r, "/v1/report", fn, arg);
}

void api_delete(struct api *a, api_fn *fn, void *arg)
{
    struct fetch_request r = { .method = "DELETE" };
    start(a, ANSWER_DELETE, &r, "/v1/device", fn, arg);
}

void api_pairing(struct api *a, api_fn *fn, void *arg)
{
    struct fetch_request r = { .method = "POST" };
    start(a, ANSWER_PAIRING, &r, "/v1/pairing", fn, arg);
}

void api_unpair(struct api *a, api_fn *fn, void *arg)
{
    struct fetch_request r = { .method = "DELETE" };
    start(a, ANSWER_DELETE, &r, "/v1/viewers", fn, arg);
}

void api_cancel(struct api *a)
{
    fetch_cancel(a->op);
    a->op = NULL;
    loop_timer_cancel(a->not_started);
}

void api_free(struct api *a)
{
    if (a == NULL)
        return;
    fetch_cancel(a->op);
    loop_timer_free(a->not_started);
    free(a->server);
    free(a);
}
