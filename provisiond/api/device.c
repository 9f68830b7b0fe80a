/* device.c - DELETE /v1/device: the device forgets itself. Its certificates are revoked, and its id
 * stays in quarantine until they end. */
#include "common/base/clock.h"
#include "provisiond/api/call.h"

static enum err run(struct job *j, void *ctx)
{
    struct call *c = (struct call *)j;
    int64_t now = clock_now_s();
    enum err e = call_check_device(c, ctx, now);
    if (e == ERR_NOTFOUND && j->again) /* that was us */
        return ERR_OK;
    if (e == ERR_OK)
        e = device_set_state(ctx, c->id.text, DEVICE_FORGOTTEN, now, &j->info);
    if (e == ERR_OK)
        e = revocation_request(ctx, c->id.text, NULL, REVOCATION_CESSATION, now, &c->n_revoking,
                               &j->info);
    if (e == ERR_OK)
        e = call_audit(c, ctx, now, "forget", "by the device, %lld certificates to revoke",
                       (long long)c->n_revoking);
    return e;
}

static void done(struct job *j, enum err e)
{
    struct call *c = (struct call *)j;
    if (e == ERR_OK)
        call_respond(c, 204, NULL, (struct span){ NULL, 0 });
    else if (!call_device_refused(c, e))
        call_store_failed(c, e);
}

void delete_device(struct call *c)
{
    call_store(c, run, done);
}
