/* pair.c - POST /v1/pair: the code that a device shows becomes a viewer token, once. */
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "provisiond/api/body.h"
#include "provisiond/core/admission.h"
#include "provisiond/discovery/visit.h"

#define DAY_S 86400

/* 0, or the seconds until a code may be tried again from there. */
static int64_t wait_s(struct visit *v)
{
    uint8_t home[8], wide[8];
    struct span ip = addr_ip((const struct sockaddr *)&v->peer.ss);
    size_t home_len = admission_prefix(ip, ADMISSION_NET_HOME, home);
    size_t wide_len = admission_prefix(ip, ADMISSION_NET_WIDE, wide);
    int64_t now_ms = clock_mono_ms();
    int64_t ms = gcra_table_take(v->d->pair_limit, (struct span){ home, home_len }, now_ms);
    if (ms == 0)
        ms = gcra_table_take(v->d->pair_limit_net, (struct span){ wide, wide_len }, now_ms);
    return ms > 0 ? ms / 1000 + 1 : 0;
}

static enum err parse(struct visit *v, struct err_info *info)
{
    json_t *o = NULL;
    char code[64];
    bool present = false;
    enum err e = body_parse(&o, httpd_body(v->req), info);
    if (e == ERR_OK)
        e = body_get(o, "code", code, sizeof code, &present, info);
    if (e == ERR_OK && (!present || pairing_hash(v->code_hash, span_str(code)) != ERR_OK))
        e = err_set(info, ERR_INVALID,
                    "code is eight letters and digits, as the device shows them");
    explicit_bzero(code, sizeof code);
    json_decref(o);
    return e;
}

bool visit_read_code(struct visit *v)
{
    struct err_info info = { "" };
    if (parse(v, &info) != ERR_OK) {
        visit_problem(v, 400, "malformed", info.text, 0);
        return false;
    }
    int64_t s = wait_s(v);
    if (s > 0)
        visit_problem(v, 429, "rate-limited", "too many codes were tried from this network", s);
    return s == 0;
}

/* Once a day. */
static void log_closed(struct discovery *d)
{
    int64_t day = clock_now_s() / DAY_S;
    if (d->closed_day == day)
        return;
    d->closed_day = day;
    log_warn("too many wrong pairing codes were tried today: nobody can pair until midnight UTC");
}

void visit_refuse_code(struct visit *v)
{
    metric_add(&v->d->pairings[v->pairing], 1);
    if (v->pairing == PAIRING_CLOSED)
        log_closed(v->d);
    if (v->pairing == PAIRING_CLOSED)
        visit_problem(v, 429, "pairing-closed",
                      "too many wrong codes were tried today, by whomever: pairing rests until "
                      "midnight UTC",
                      DAY_S - clock_now_s() % DAY_S);
    else
        visit_problem(v, 404, "code-unknown",
                      "no device shows this code now: have it show a new one", 0);
}

/* Done before and not answered, the code is gone and the token there. */
static enum err run(struct job *j, void *ctx)
{
    struct visit *v = (struct visit *)j;
    int64_t now_s = clock_now_s();
    char ids[VIEWER_DEVICES_MAX][DEVID_LEN + 1];
    size_t n = 0;
    enum err e = ERR_OK;
    if (j->again)
        e = viewer_devices(ctx, &v->viewer, now_s, ids, &n, &j->info);
    if (e == ERR_OK && n == 1) {
        memcpy(v->id, ids[0], sizeof v->id);
        v->pairing = PAIRING_TAKEN;
        return ERR_OK;
    }
    if (e == ERR_OK)
        e = pairing_take(ctx, v->code_hash, now_s, &v->pairing, v->id, &j->info);
    if (e == ERR_OK && v->pairing == PAIRING_TAKEN)
        e = viewer_add(ctx, &v->viewer, v->id, now_s, &j->info);
    if (e == ERR_OK && v->pairing == PAIRING_TAKEN)
        e = visit_audit(v, ctx, now_s, "paired", "a viewer token for the code");
    return e;
}

static void done(struct job *j, enum err e)
{
    struct visit *v = (struct visit *)j;
    if (e != ERR_OK) {
        visit_store_failed(v, e);
    } else if (v->pairing != PAIRING_TAKEN) {
        visit_refuse_code(v);
    } else {
        metric_add(&v->d->pairings[PAIRING_TAKEN], 1);
        v->answer = json_pack("{s:s, s:s}", "device", v->id, "viewer_token", v->token_text);
        if (v->answer == NULL)
            visit_problem(v, 503, "unavailable", "out of memory: have the device show a new code",
                          10);
        else
            visit_respond(v, 200, v->answer);
    }
}

void visit_pair(struct visit *v)
{
    uint8_t random[TOKEN_RANDOM_LEN];
    if (!visit_read_code(v))
        return;
    secret_random(random, sizeof random);
    token_format(v->token_text, TOKEN_VIEWER, random);
    explicit_bzero(random, sizeof random);
    v->viewer.kind = VIEWER_TOKEN;
    if (token_hash(v->viewer.hash, TOKEN_VIEWER, span_str(v->token_text)) != ERR_OK)
        visit_problem(v, 500, NULL, "the service failed: its log says why", 60);
    else
        visit_store(v, run, done);
}
