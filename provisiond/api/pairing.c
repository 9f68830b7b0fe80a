/* pairing.c - POST /v1/pairing: a code for the device to show, which makes whoever types it a
 * viewer. DELETE /v1/viewers: all of them are none any more. */
#include "provisiond/store/pairing.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "common/base/clock.h"
#include "common/base/secret.h"
#include "provisiond/api/call.h"
#include "provisiond/store/viewer.h"

#define PAIRING_LIFE_S 600

static enum err run_pairing(struct job *j, void *ctx)
{
    struct call *c = (struct call *)j;
    uint8_t hash[PAIRING_HASH_LEN];
    int64_t now = clock_now_s();
    enum err e = call_check_device(c, ctx, now);
    if (e == ERR_OK && !c->api->parts.config->public_.set)
        return ERR_ILLEGAL;
    if (e == ERR_OK)
        e = pairing_hash(hash, span_str(c->code));
    c->code_expires_at = now + PAIRING_LIFE_S;
    if (e == ERR_OK)
        e = pairing_put(ctx, c->id.text, hash, now, c->code_expires_at, &j->info);
    if (e == ERR_OK)
        e = call_audit_rarely(c, ctx, now, "pairing", "the device shows a code");
    return e;
}

static void done_pairing(struct job *j, enum err e)
{
    struct call *c = (struct call *)j;
    if (e == ERR_ILLEGAL) {
        call_problem(c, 409, "no-discovery", "this service has no listener for browsers", 0);
        return;
    }
    if (e != ERR_OK) {
        if (!call_device_refused(c, e))
            call_store_failed(c, e);
        return;
    }
    json_t *o = json_pack("{s:s, s:I, s:i}", "code", c->code, "expires_at",
                          (json_int_t)c->code_expires_at, "expires_in", PAIRING_LIFE_S);
    call_respond_json(c, 200, o);
}

void post_pairing(struct call *c)
{
    uint8_t random[PAIRING_RANDOM_LEN];
    secret_random(random, sizeof random);
    pairing_format(c->code, random);
    explicit_bzero(random, sizeof random);
    call_store(c, run_pairing, done_pairing);
}

static enum err run_unpair(struct job *j, void *ctx)
{
    struct call *c = (struct call *)j;
    int64_t now = clock_now_s();
    int64_t n = 0;
    enum err e = call_check_device(c, ctx, now);
    if (e == ERR_OK)
        e = viewer_remove_all(ctx, c->id.text, &n, &j->info);
    if (e == ERR_OK)
        e = call_audit(c, ctx, now, "unpair", "by the device, %lld viewers", (long long)n);
    return e;
}

static void done_unpair(struct job *j, enum err e)
{
    struct call *c = (struct call *)j;
    if (e == ERR_OK)
        call_respond(c, 204, NULL, (struct span){ NULL, 0 });
    else if (!call_device_refused(c, e))
        call_store_failed(c, e);
}

void delete_viewers(struct call *c)
{
    call_store(c, run_unpair, done_unpair);
}
