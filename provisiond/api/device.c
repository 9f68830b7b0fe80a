/* device.c - DELETE /v1/device: the device forgets itself. */
#include "common/base/clock.h"
#include "provisiond/api/call.h"

static enum err run(struct job *j, void *ctx)
{
    struct call *c = (struct call *)j;
    int64_t now = clock_now_s();
    enum err e = call_check_device(c, ctx, now);
    if (e == ERR_OK)
        e = device_set_state(ctx, c->id.text, DEVICE_FORGOTTEN, now, &j->info);
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
