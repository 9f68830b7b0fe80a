#include "provisiond/api/call.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "provisiond/store/audit.h"

#define RETRY_AFTER_S 10

static const char UNAVAILABLE[] = "unavailable";
static const char NO_STORE[] = "the service cannot reach its database: try again";

void call_start_waiting(struct call *c)
{
    c->prev = NULL;
    c->next = c->api->waiters;
    if (c->next != NULL)
        c->next->prev = c;
    c->api->waiters = c;
    c->waiting = true;
}

void call_stop_waiting(struct call *c)
{
    if (!c->waiting)
        return;
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        c->api->waiters = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    c->waiting = false;
    loop_timer_cancel(c->timer);
}

static void call_free(struct call *c)
{
    call_stop_waiting(c);
    loop_timer_free(c->timer);
    loop_timer_free(c->patience);
    buf_clear(&c->chain);
    buf_clear(&c->body);
    report_clear(&c->report);
    explicit_bzero(c->code, sizeof c->code);
    free(c);
}

/* The job goes on, and its answer goes nowhere. */
static void on_store_slow(void *arg)
{
    struct call *c = arg;
    if (c->req == NULL)
        return;
    requeststats_count(&c->api->stats, c->method, c->path, 503, UNAVAILABLE);
    httpd_problem(c->req, 503, UNAVAILABLE, NO_STORE, RETRY_AFTER_S);
    c->req = NULL;
}

static void on_store_done(struct job *j, enum err e)
{
    struct call *c = (struct call *)j;
    loop_timer_cancel(c->patience);
    c->store_done(j, e);
}

void call_store(struct call *c, enum err (*run)(struct job *j, void *ctx),
                void (*done)(struct job *j, enum err e))
{
    if (c->patience == NULL &&
        loop_timer_new(&c->patience, c->api->parts.loop, on_store_slow, c) != ERR_OK) {
        call_problem(c, 503, UNAVAILABLE, "out of memory: try again", RETRY_AFTER_S);
        return;
    }
    loop_timer_set(c->patience, jobs_patience_ms(c->api->parts.store));
    c->store_done = done;
    c->job.run = run;
    c->job.done = on_store_done;
    jobs_submit(c->api->parts.store, &c->job);
}

void call_respond(struct call *c, int status, const char *type, struct span body)
{
    if (c->req != NULL) {
        requeststats_count(&c->api->stats, c->method, c->path, status, NULL);
        httpd_respond(c->req, status, type, body);
    }
    call_free(c);
}

void call_respond_json(struct call *c, int status, json_t *body)
{
    char *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);
    json_decref(body);
    if (text == NULL)
        call_problem(c, 503, "unavailable", "out of memory: try again", 10);
    else
        call_respond(c, status, "application/json", span_str(text));
    free(text);
}

void call_problem(struct call *c, int status, const char *type, const char *detail,
                  int64_t retry_after_s)
{
    if (c->req != NULL) {
        requeststats_count(&c->api->stats, c->method, c->path, status, type);
        httpd_problem(c->req, status, type, detail, retry_after_s);
    }
    call_free(c);
}

void call_store_failed(struct call *c, enum err e)
{
    log_error("%s", c->job.info.text);
    if (e == ERR_UNAVAILABLE || e == ERR_NOMEM)
        call_problem(c, 503, UNAVAILABLE, NO_STORE, RETRY_AFTER_S);
    else
        call_problem(c, 500, NULL, "the service failed: its log says why", 60);
}

enum err call_check_device(struct call *c, struct sql *db, int64_t now_s)
{
    enum err e = device_get(db, c->id.text, &c->device, &c->job.info);
    if (e != ERR_OK)
        return e;
    if (c->device.state == DEVICE_FORGOTTEN)
        return ERR_NOTFOUND;
    if (c->device.state != DEVICE_ACTIVE)
        return ERR_DENIED;
    return device_touch(db, c->id.text, now_s, &c->job.info);
}

static struct audit_row audit_row(const struct call *c, const char *action)
{
    struct audit_row row = { .seq = 0 };
    (void)snprintf(row.device_id, sizeof row.device_id, "%s", c->id.text);
    (void)snprintf(row.action, sizeof row.action, "%s", action);
    audit_name_network(row.actor, addr_ip((const struct sockaddr *)&c->peer.ss));
    return row;
}

enum err call_audit(struct call *c, struct sql *db, int64_t now_s, const char *action,
                    const char *fmt, ...)
{
    va_list ap;
    struct audit_row row = audit_row(c, action);
    va_start(ap, fmt);
    (void)vsnprintf(row.detail, sizeof row.detail, fmt, ap);
    va_end(ap);
    return audit_append(db, &row, now_s, &c->job.info);
}

enum err call_audit_rarely(struct call *c, struct sql *db, int64_t now_s, const char *action,
                           const char *detail)
{
    struct audit_row row = audit_row(c, action);
    (void)snprintf(row.detail, sizeof row.detail, "%s", detail);
    return audit_append_rarely(db, &row, now_s, &c->job.info);
}

bool call_device_refused(struct call *c, enum err e)
{
    if (e == ERR_NOTFOUND)
        call_problem(c, 403, "not-enrolled", "this device is not enrolled: POST /v1/enroll first",
                     0);
    else if (e == ERR_DENIED)
        call_problem(c, 403, "suspended", "this device is suspended by the operator", 86400);
    else
        return false;
    return true;
}
