/* renewal.c - GET /v1/renewal: when this device should renew, and why. */
#include <jansson.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "provisiond/api/call.h"

enum err renewal_load(struct call *c, struct sql *db, int64_t now_s)
{
    c->has_current = false;
    enum err e = current_get(db, c->id.text, c->device.zone, &c->current, &c->job.info);
    if (e == ERR_NOTFOUND)
        return ERR_OK;
    c->has_current = e == ERR_OK;
    if (e == ERR_OK)
        e = certificate_get(db, c->current.order_id, &c->cert, NULL, &c->job.info);
    if (e == ERR_NOTFOUND)
        e = ERR_UNAVAILABLE;                            /* stored in one transaction: cannot be */
    if (e == ERR_OK && c->current.renewal.poll_at == 0) /* it was away, and is back */
        e = current_resume(db, &c->current, now_s, &c->job.info);
    return e;
}

static enum err run(struct job *j, void *ctx)
{
    struct call *c = (struct call *)j;
    int64_t now = clock_now_s();
    enum err e = call_check_device(c, ctx, now);
    return e == ERR_OK ? renewal_load(c, ctx, now) : e;
}

static json_t *window_json(const struct renewal *r)
{
    if (r->window_end == 0)
        return json_null();
    return json_pack("{s:I, s:I}", "start", (json_int_t)r->window_start, "end",
                     (json_int_t)r->window_end);
}

/* The service's own time goes with it: the device's clock may be wrong. */
json_t *renewal_json(const struct call *c)
{
    const struct current_row *row = &c->current;
    enum renewal_why why;
    int64_t now = clock_now_s();
    int64_t at = renewal_at(&row->renewal, c->api->parts.config->failover_percent, now, &why);
    uint64_t seed = renewal_seed(row->device_id, row->ari_id);
    json_t *o = json_pack("{s:s, s:o, s:I, s:s, s:I, s:I}", "certificate", c->cert.serial, "window",
                          window_json(&row->renewal), "renew_at", (json_int_t)at, "why",
                          renewal_why_name(why), "now", (json_int_t)now, "next_check_in",
                          (json_int_t)renewal_check_in_s(&row->renewal, seed));
    if (o != NULL && row->explanation[0] != 0)
        json_object_set_new(o, "explanation", json_string(row->explanation));
    return o;
}

static void respond(struct call *c)
{
    call_respond_json(c, 200, renewal_json(c));
}

static void done(struct job *j, enum err e)
{
    struct call *c = (struct call *)j;
    if (e == ERR_OK && c->has_current)
        respond(c);
    else if (e == ERR_OK)
        call_problem(c, 404, "no-certificate", "this device has no certificate yet", 0);
    else if (!call_device_refused(c, e))
        call_store_failed(c, e);
}

void get_renewal(struct call *c)
{
    call_store(c, run, done);
}
