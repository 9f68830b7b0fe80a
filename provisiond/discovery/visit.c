#include "provisiond/discovery/visit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "provisiond/store/audit.h"

#define RETRY_AFTER_S 10

static const char UNAVAILABLE[] = "unavailable";
static const char NO_STORE[] = "the service cannot reach its database: try again";

static void visit_free(struct visit *v)
{
    oidckeys_cancel(&v->wait);
    loop_timer_free(v->patience);
    json_decref(v->answer);
    json_decref(v->devices);
    if (v->token != NULL)
        explicit_bzero(v->token, strlen(v->token));
    free(v->token);
    explicit_bzero(v->token_text, sizeof v->token_text);
    free(v);
}

/* The job goes on, and its answer goes nowhere. */
static void on_store_slow(void *arg)
{
    struct visit *v = arg;
    if (v->req == NULL)
        return;
    requeststats_count(&v->d->stats, v->method, v->path, 503, UNAVAILABLE);
    httpd_problem(v->req, 503, UNAVAILABLE, NO_STORE, RETRY_AFTER_S);
    v->req = NULL;
}

static void on_store_done(struct job *j, enum err e)
{
    struct visit *v = (struct visit *)j;
    loop_timer_cancel(v->patience);
    v->store_done(j, e);
}

void visit_store(struct visit *v, enum err (*run)(struct job *j, void *ctx),
                 void (*done)(struct job *j, enum err e))
{
    if (v->patience == NULL &&
        loop_timer_new(&v->patience, v->d->parts.loop, on_store_slow, v) != ERR_OK) {
        visit_problem(v, 503, UNAVAILABLE, "out of memory: try again", RETRY_AFTER_S);
        return;
    }
    loop_timer_set(v->patience, jobs_patience_ms(v->d->parts.store));
    v->store_done = done;
    v->job.run = run;
    v->job.done = on_store_done;
    jobs_submit(v->d->parts.store, &v->job);
}

enum err visit_audit(struct visit *v, struct sql *db, int64_t now_s, const char *action,
                     const char *detail)
{
    struct audit_row row = { .seq = 0 };
    (void)snprintf(row.device_id, sizeof row.device_id, "%s", v->id);
    (void)snprintf(row.action, sizeof row.action, "%s", action);
    (void)snprintf(row.detail, sizeof row.detail, "%s", detail);
    audit_name_network(row.actor, addr_ip((const struct sockaddr *)&v->peer.ss));
    return audit_append(db, &row, now_s, &v->job.info);
}

void visit_respond(struct visit *v, int status, const json_t *body)
{
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    if (body != NULL && text == NULL) {
        visit_problem(v, 503, UNAVAILABLE, "out of memory: try again", RETRY_AFTER_S);
        return;
    }
    if (v->req != NULL) {
        requeststats_count(&v->d->stats, v->method, v->path, status, NULL);
        httpd_respond(v->req, status, text != NULL ? "application/json" : NULL,
                      span_str(text != NULL ? text : ""));
    }
    if (text != NULL)
        explicit_bzero(text, strlen(text)); /* a fresh token may be in it */
    free(text);
    visit_free(v);
}

void visit_problem(struct visit *v, int status, const char *type, const char *detail,
                   int64_t retry_after_s)
{
    if (v->req != NULL) {
        requeststats_count(&v->d->stats, v->method, v->path, status, type);
        httpd_problem(v->req, status, type, detail, retry_after_s);
    }
    visit_free(v);
}

void visit_store_failed(struct visit *v, enum err e)
{
    log_error("%s", v->job.info.text);
    if (e == ERR_UNAVAILABLE || e == ERR_NOMEM)
        visit_problem(v, 503, UNAVAILABLE, NO_STORE, RETRY_AFTER_S);
    else
        visit_problem(v, 500, NULL, "the service failed: its log says why", 60);
}

void visit_refuse(struct visit *v, const char *detail)
{
    if (v->req != NULL)
        httpd_add_header(v->req, "WWW-Authenticate", "Bearer"); /* [RFC 6750 s3] */
    visit_problem(v, 401, "not-allowed", detail, 0);
}
