#include "agent/pairing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/api.h"
#include "common/base/clock.h"

#define FRESH_MS                                                                                   \
    2000 /* between two codes: the service counts all requests of a device together                \
          */

struct pairing {
    struct api *api;
    pairing_fn *fn; /* NULL: nobody waits */
    void *arg;
    bool busy;
    char code[ANSWER_CODE_LEN + 1]; /* "": none */
    int64_t made_ms, until_ms;      /* monotonic */
    struct err_info error;          /* why the last one was not had; "" */
};

enum err pairing_new(struct pairing **out, struct loop *l, struct fetch *pool, const char *server)
{
    struct pairing *p = calloc(1, sizeof *p);
    if (p == NULL)
        return ERR_NOMEM;
    enum err e = api_new(&p->api, l, pool, server);
    if (e != ERR_OK) {
        free(p);
        return e;
    }
    *out = p;
    return ERR_OK;
}

static bool has_code(const struct pairing *p)
{
    return p->code[0] != 0 && clock_mono_ms() < p->until_ms;
}

static void tell(struct pairing *p, bool ok, const char *text)
{
    pairing_fn *fn = p->fn;
    p->fn = NULL;
    p->busy = false;
    if (fn != NULL)
        fn(p->arg, ok, text);
}

static void tell_code(struct pairing *p)
{
    char text[96];
    long long left_s = (p->until_ms - clock_mono_ms()) / 1000;
    (void)snprintf(text, sizeof text, "%s, good for one use within %lld seconds", p->code, left_s);
    tell(p, true, text);
    explicit_bzero(text, sizeof text);
}

static void on_code(void *arg, const struct api_result *res)
{
    struct pairing *p = arg;
    if (res->answer.kind != ANSWER_OK) {
        p->error = res->answer.info;
        tell(p, false, res->answer.info.text);
        return;
    }
    p->error.text[0] = 0;
    memcpy(p->code, res->answer.code, sizeof p->code);
    p->made_ms = clock_mono_ms();
    p->until_ms = p->made_ms + res->answer.expires_in_s * 1000;
    tell_code(p);
}

static void on_revoked(void *arg, const struct api_result *res)
{
    struct pairing *p = arg;
    bool ok = res->answer.kind == ANSWER_OK;
    if (ok)
        explicit_bzero(p->code, sizeof p->code);
    tell(p, ok,
         ok ? "Nobody sees this device any more by a code that it showed." : res->answer.info.text);
}

/* False when something is under way. */
static bool begin(struct pairing *p, pairing_fn *fn, void *arg)
{
    if (p->busy)
        return false;
    p->busy = true;
    p->fn = fn;
    p->arg = arg;
    return true;
}

enum err pairing_ask(struct pairing *p, pairing_fn *fn, void *arg)
{
    if (!begin(p, fn, arg))
        return ERR_AGAIN;
    if (has_code(p) && clock_mono_ms() - p->made_ms < FRESH_MS)
        tell_code(p);
    else
        api_pairing(p->api, on_code, p);
    return ERR_OK;
}

enum err pairing_revoke(struct pairing *p, pairing_fn *fn, void *arg)
{
    if (!begin(p, fn, arg))
        return ERR_AGAIN;
    api_unpair(p->api, on_revoked, p);
    return ERR_OK;
}

void pairing_leave(struct pairing *p, void *arg)
{
    if (p->arg == arg)
        p->fn = NULL;
}

json_t *pairing_to_json(const struct pairing *p, int64_t now_s)
{
    if (!has_code(p))
        return p->error.text[0] != 0 ? json_pack("{ss}", "error", p->error.text) : json_null();
    int64_t left_s = (p->until_ms - clock_mono_ms()) / 1000;
    return json_pack("{ss sI}", "code", p->code, "expires_at", (json_int_t)(now_s + left_s));
}

void pairing_free(struct pairing *p)
{
    if (p == NULL)
        return;
    api_free(p->api);
    explicit_bzero(p->code, sizeof p->code);
    free(p);
}
