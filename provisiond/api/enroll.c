/* enroll.c - POST /v1/enroll: admits the identity key of the connection to a zone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "common/base/b64url.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "provisiond/api/admit.h"
#include "provisiond/api/body.h"

#define NEXT_CONTACT_S 86400
#define TOKEN_FIELD_MAX 128
#define PROOF_FIELD_MAX 1024
#define CHAIN_FIELD_MAX (32 * 1024)

/* The fields of the request, copied out of the JSON. */
struct request {
    char zone[256];
    char token[TOKEN_FIELD_MAX];
    char factory_chain[CHAIN_FIELD_MAX]; /* PEM, "" when none */
    char factory_proof[PROOF_FIELD_MAX]; /* base64url */
};

static enum err parse(struct span body, struct request *out, struct err_info *info)
{
    json_t *o = NULL;
    bool has_zone = false, has;
    enum err e = body_parse(&o, body, info);
    if (e == ERR_OK)
        e = body_get(o, "zone", out->zone, sizeof out->zone, &has_zone, info);
    if (e == ERR_OK && !has_zone)
        e = err_set(info, ERR_INVALID, "zone is missing");
    if (e == ERR_OK)
        e = body_get(o, "token", out->token, sizeof out->token, &has, info);
    if (e == ERR_OK)
        e = body_get(o, "factory_chain", out->factory_chain, sizeof out->factory_chain, &has, info);
    if (e == ERR_OK)
        e = body_get(o, "factory_proof", out->factory_proof, sizeof out->factory_proof, &has, info);
    json_decref(o);
    return e;
}

static enum err run(struct job *j, void *ctx)
{
    return admit_run((struct call *)j, ctx, clock_now_s());
}

static void respond_admitted(struct call *c)
{
    char name[300];
    (void)snprintf(name, sizeof name, "*.%s.%s", c->id.text, c->zone->name);
    json_t *o =
        json_pack("{s:s, s:s, s:[s], s:{s:s, s:s}, s:I}", "id", c->id.text, "zone", c->zone->name,
                  "names", name, "endpoints", "certificate", "/v1/certificate", "device",
                  "/v1/device", "next_contact_in", (json_int_t)NEXT_CONTACT_S);
    if (c->admission == ADMISSION_FRESH)
        log_info("a device was admitted to %s", c->zone->name);
    call_respond_json(c, admission_answer(c->admission)->status, o);
}

static void done(struct job *j, enum err e)
{
    struct call *c = (struct call *)j;
    const struct admission_answer *a = admission_answer(c->admission);
    if (e != ERR_OK)
        call_store_failed(c, e);
    else if (a->type == NULL)
        respond_admitted(c);
    else
        call_problem(c, a->status, a->type, a->detail, a->retry_after_s);
}

/* The chain comes in the body, or with the connection when it is over the identity key itself. */
static STACK_OF(X509) * factory_chain(struct call *c, const struct request *rq)
{
    STACK_OF(X509) *chain = NULL;
    if (rq->factory_chain[0] == 0)
        return httpd_peer_chain(c->req);
    return cert_chain_parse(&chain, span_str(rq->factory_chain), NULL) == ERR_OK ? chain : NULL;
}

static void enroll(struct call *c, const struct request *rq)
{
    uint8_t proof[FACTORY_PROOF_MAX];
    struct admit_credential cred = { .token = span_str(rq->token) };
    c->zone = config_zone_find(c->api->parts.config, rq->zone);
    if (c->zone == NULL) {
        call_problem(c, 404, "unknown-zone", "this service does not serve that zone", 0);
        return;
    }
    int64_t wait_s = admit_wait_s(c);
    if (wait_s > 0) {
        call_problem(c, 429, "rate-limited", "too many enrolments from this network", wait_s);
        return;
    }
    if (c->zone->enroll == CONFIG_ENROLL_FACTORY) {
        cred.factory_chain = factory_chain(c, rq);
        if (b64url_decode(span_str(rq->factory_proof), proof, sizeof proof,
                          &cred.factory_proof.len) == ERR_OK)
            cred.factory_proof.p = proof;
        else
            cred.factory_proof.len = 0;
    }
    admit_prepare(c, &cred);
    sk_X509_pop_free(cred.factory_chain, X509_free);
    call_store(c, run, done);
}

void post_enroll(struct call *c)
{
    struct err_info info = { "" };
    struct request *rq = calloc(1, sizeof *rq);
    if (rq == NULL) {
        call_problem(c, 503, "unavailable", "out of memory: try again", 10);
        return;
    }
    if (parse(httpd_body(c->req), rq, &info) == ERR_OK)
        enroll(c, rq);
    else
        call_problem(c, 400, "malformed", info.text, 0);
    explicit_bzero(rq, sizeof *rq);
    free(rq);
}
