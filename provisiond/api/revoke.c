/* revoke.c - POST /v1/revoke: the device has its own certificates revoked. It names none but its
 * own: a serial number of another device is unknown here. */
#include <stdlib.h>

#include "common/base/clock.h"
#include "provisiond/api/body.h"
#include "provisiond/api/call.h"

static enum err run(struct job *j, void *ctx)
{
    struct call *c = (struct call *)j;
    int64_t now = clock_now_s();
    enum err e = call_check_device(c, ctx, now);
    if (e != ERR_OK)
        return e;
    e = revocation_request(ctx, c->id.text, c->serial[0] != 0 ? c->serial : NULL, c->reason, now,
                           &c->n_revoking, &j->info);
    if (e == ERR_NOTFOUND)
        e = ERR_OK; /* n_revoking stays 0 */
    if (e == ERR_OK && c->n_revoking > 0)
        e = call_audit(c, ctx, now, "revoke", "by the device, %lld certificates, %s",
                       (long long)c->n_revoking, revocation_reason_name(c->reason));
    return e;
}

static void respond(struct call *c)
{
    json_t *o = json_pack("{s:I, s:s}", "revoking", (json_int_t)c->n_revoking, "reason",
                          revocation_reason_name(c->reason));
    call_respond_json(c, 202, o);
}

static void done(struct job *j, enum err e)
{
    struct call *c = (struct call *)j;
    if (e != ERR_OK) {
        if (!call_device_refused(c, e))
            call_store_failed(c, e);
    } else if (c->n_revoking == 0) {
        call_problem(c, 404, "no-certificate", "this device has no such certificate", 0);
    } else {
        respond(c);
    }
}

static enum err parse(struct call *c, struct err_info *info)
{
    json_t *o = NULL;
    char reason[32] = "";
    bool has_reason = false, has_serial;
    enum err e = body_parse(&o, httpd_body(c->req), info);
    if (e == ERR_OK)
        e = body_get(o, "reason", reason, sizeof reason, &has_reason, info);
    if (e == ERR_OK)
        e = body_get(o, "serial", c->serial, sizeof c->serial, &has_serial, info);
    if (e == ERR_OK && has_reason && revocation_reason_parse(&c->reason, reason) != ERR_OK)
        e = err_set(info, ERR_INVALID,
                    "reason is unspecified, keyCompromise, superseded or cessationOfOperation");
    json_decref(o);
    return e;
}

void post_revoke(struct call *c)
{
    struct err_info info = { "" };
    if (parse(c, &info) == ERR_OK)
        call_store(c, run, done);
    else
        call_problem(c, 400, "malformed", info.text, 0);
}
