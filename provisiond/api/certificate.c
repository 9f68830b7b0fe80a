/* certificate.c - POST and GET /v1/certificate: a CSR comes in, a chain goes out. */
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "common/base/clock.h"
#include "provisiond/api/admit.h"
#include "provisiond/core/csr.h"

#define WAIT_MAX_S 60
#define POLL_S 2 /* what a device that does not use the long poll is told */
#define PEM_CHAIN "application/pem-certificate-chain"

/* How long a device should wait before it asks again. */
static int64_t retry_in_s(const struct order_row *o)
{
    int64_t s = o->due_at - clock_now_s();
    return s < POLL_S ? POLL_S : s > 86400 ? 86400 : s;
}

/* 202 with what is happening; no secret is in it. */
static void respond_pending(struct call *c)
{
    int64_t retry_s = retry_in_s(&c->order);
    char retry[32];
    json_t *o = json_pack("{s:s, s:I}", "state", order_state_name(c->order.state), "retry_in",
                          (json_int_t)retry_s);
    if (o != NULL && c->order.problem[0] != 0) {
        json_object_set_new(o, "problem", json_string(c->order.problem));
        json_object_set_new(o, "detail", json_string(c->order.detail));
    }
    (void)snprintf(retry, sizeof retry, "%lld", (long long)retry_s);
    if (c->req != NULL && o != NULL) {
        if (!c->est)
            httpd_add_header(c->req, "Location", "/v1/certificate");
        httpd_add_header(c->req, "Retry-After", retry);
    }
    call_respond_json(c, 202, o);
}

static void respond_invalid(struct call *c)
{
    bool key = strcmp(c->order.problem, "badPublicKey") == 0;
    char detail[400];
    (void)snprintf(detail, sizeof detail, "the request was refused (%s): %s", c->order.problem,
                   c->order.detail);
    call_problem(c, 409, key ? "new-key-needed" : "new-csr-needed", detail, 0);
}

static void respond_chain(struct call *c)
{
    if (c->est)
        est_respond_chain(c);
    else
        call_respond(c, 200, PEM_CHAIN, buf_span(&c->chain));
}

static void respond_revoked(struct call *c)
{
    if (c->reason == REVOCATION_KEY_COMPROMISE)
        call_problem(c, 409, "new-key-needed",
                     "the key was reported as compromised: make a new key and request", 0);
    else
        call_problem(c, 409, "new-csr-needed", "the certificate was revoked: send a new request",
                     0);
}

/* --- POST --- */

static enum err run_submit(struct job *j, void *ctx)
{
    struct call *c = (struct call *)j;
    const struct config *cfg = c->api->parts.config;
    const struct order_csr csr = { buf_span(&c->body), { c->rsa_modulus, c->rsa_modulus_len } };
    int64_t now = clock_now_s();
    enum err e = call_check_device(c, ctx, now);
    struct schedule_policy policy = { cfg->failover_percent,
                                      cfg->issuers[c->zone->issuers[0]].renewals_exempt };
    if (e == ERR_OK)
        e = order_submit(ctx, &c->order, &csr, cfg->orders_per_day, &policy, now, &c->submit,
                         &j->info);
    buf_reset(&c->chain);
    if (e == ERR_OK && c->submit == ORDER_SUBMIT_SHARED_PRIME)
        e = call_audit_rarely(c, ctx, now, "key-shares-prime", "of an RSA key");
    if (e == ERR_OK && c->submit == ORDER_SUBMIT_REUSED)
        e = call_audit_rarely(c, ctx, now, "key-reused", "a certificate key of another device");
    if (e == ERR_OK && c->submit == ORDER_SUBMIT_DONE)
        e = certificate_get(ctx, c->order.id, &c->cert, &c->chain, &j->info);
    return e;
}

static void done_submit(struct job *j, enum err e)
{
    struct call *c = (struct call *)j;
    struct api *a = c->api;
    if (e != ERR_OK) {
        if (!call_device_refused(c, e))
            call_store_failed(c, e);
        return;
    }
    switch (c->submit) {
    case ORDER_SUBMIT_QUEUED:
        respond_pending(c);
        a->parts.on_order(a->parts.arg);
        break;
    case ORDER_SUBMIT_DONE:
        respond_chain(c);
        break;
    case ORDER_SUBMIT_COMPROMISED:
        c->reason = REVOCATION_KEY_COMPROMISE;
        respond_revoked(c);
        break;
    case ORDER_SUBMIT_REVOKED:
        c->reason = REVOCATION_UNSPECIFIED; /* a compromise is known by its key */
        respond_revoked(c);
        break;
    case ORDER_SUBMIT_REUSED:
        call_problem(c, 409, "csr-key-reused",
                     "this key was used by another device: make a new one; keys shared by devices "
                     "are what gets certificates revoked",
                     0);
        break;
    case ORDER_SUBMIT_SHARED_PRIME:
        call_problem(
            c, 400, "csr-weak-key",
            "the RSA key shares a prime with another one, so that anybody can factor both: "
            "the random numbers of the device are bad",
            0);
        break;
    case ORDER_SUBMIT_INVALID:
        respond_invalid(c);
        break;
    case ORDER_SUBMIT_TOO_MANY:
        call_problem(c, 429, "rate-limited", "too many certificate requests of this device today",
                     3600);
        break;
    }
}

static enum err run_note_foreign(struct job *j, void *ctx)
{
    return call_audit_rarely((struct call *)j, ctx, clock_now_s(), "csr-foreign-name", "");
}

static void done_note_foreign(struct job *j, enum err e)
{
    struct call *c = (struct call *)j;
    if (e == ERR_OK)
        call_problem(c, 400, "csr-foreign-name", c->refusal, 0);
    else
        call_store_failed(c, e);
}

static void refuse_csr(struct call *c, enum err e, const char *problem, const char *detail)
{
    if (problem == NULL) {
        call_problem(c, 503, "unavailable", "out of memory: try again", 10);
    } else if (strcmp(problem, "csr-foreign-name") == 0) {
        /* somebody who asks for another's name is written down */
        (void)snprintf(c->refusal, sizeof c->refusal, "%s", detail);
        call_store(c, run_note_foreign, done_note_foreign);
    } else {
        call_problem(c, e == ERR_LIMIT ? 413 : 400, problem, detail, 0);
    }
}

/* Fills c->order from the CSR. False: answered with what is wrong. */
static bool check_csr(struct call *c)
{
    char wildcard[300], bare[300];
    (void)snprintf(wildcard, sizeof wildcard, "*.%s.%s", c->id.text, c->zone->name);
    (void)snprintf(bare, sizeof bare, "%s.%s", c->id.text, c->zone->name);
    struct csr_policy policy = { wildcard, c->zone->bare_name ? bare : NULL, c->spki_sha256 };
    struct csr_facts facts;
    struct err_info info = { "" };
    const char *problem = NULL;
    enum err e = csr_check(&policy, buf_span(&c->body), &facts, &problem, &info);
    if (e == ERR_OK &&
        digestset_has(admitlists_now(c->api->lists)->blocked_keys, facts.spki_sha256)) {
        buf_clear(&facts.der);
        c->reason = REVOCATION_KEY_COMPROMISE;
        respond_revoked(c);
        return false;
    }
    if (e != ERR_OK) {
        refuse_csr(c, e, problem, info.text);
        return false;
    }
    struct order_row *o = &c->order;
    const struct config *cfg = c->api->parts.config;
    o->bare_name = facts.has_optional;
    memcpy(o->csr_sha256, facts.der_sha256, sizeof o->csr_sha256);
    memcpy(o->spki_sha256, facts.spki_sha256, sizeof o->spki_sha256);
    c->rsa_modulus_len = facts.rsa_modulus_len;
    memcpy(c->rsa_modulus, facts.rsa_modulus, sizeof c->rsa_modulus);
    (void)snprintf(o->device_id, sizeof o->device_id, "%s", c->id.text);
    (void)snprintf(o->zone, sizeof o->zone, "%s", c->zone->name);
    (void)snprintf(o->issuer, sizeof o->issuer, "%s", cfg->issuers[c->zone->issuers[0]].name);
    buf_clear(&c->body); /* from here on as DER */
    c->body = facts.der;
    return true;
}

static enum err run_check(struct job *j, void *ctx)
{
    return call_check_device((struct call *)j, ctx, clock_now_s());
}

void certificate_submit(struct call *c)
{
    c->zone = config_zone_find(c->api->parts.config, c->device.zone);
    if (c->zone == NULL)
        call_problem(c, 409, "unknown-zone", "the zone of this device is not served any more",
                     86400);
    else if (c->req == NULL) /* nobody waits for it: the device will send it again */
        call_respond(c, 0, NULL, (struct span){ NULL, 0 });
    else if (check_csr(c))
        call_store(c, run_submit, done_submit);
}

/* The zone comes from the database, so the CSR can only be judged now. */
static void done_check_post(struct job *j, enum err e)
{
    struct call *c = (struct call *)j;
    if (e == ERR_OK)
        certificate_submit(c);
    else if (!call_device_refused(c, e))
        call_store_failed(c, e);
}

void post_certificate(struct call *c)
{
    struct span body = httpd_body(c->req);
    if (body.len > CSR_MAX) {
        call_problem(c, 413, "csr-too-large", "a certificate request has at most 16 KiB", 0);
        return;
    }
    buf_init(&c->body, CSR_MAX);
    buf_add_span(&c->body, body);
    if (buf_error(&c->body) != ERR_OK) {
        call_problem(c, 503, "unavailable", "out of memory: try again", 10);
        return;
    }
    call_store(c, run_check, done_check_post);
}

/* --- GET --- */

static enum err run_get(struct job *j, void *ctx)
{
    struct call *c = (struct call *)j;
    enum err e = call_check_device(c, ctx, clock_now_s());
    if (e != ERR_OK)
        return e;
    e = order_latest(ctx, c->id.text, c->device.zone, &c->order, &j->info);
    if (e == ERR_NOTFOUND) {
        c->order.state = ORDER_ILLEGAL; /* none */
        return ERR_OK;
    }
    if (e == ERR_OK && c->order.state == ORDER_VALID) {
        buf_reset(&c->chain);
        e = certificate_get(ctx, c->order.id, &c->cert, &c->chain, &j->info);
        if (e == ERR_NOTFOUND)
            e = ERR_UNAVAILABLE; /* stored in one transaction with the state: cannot be */
        if (e == ERR_OK)
            e = revocation_of_order(ctx, c->order.id, &c->revoked, &c->reason, &j->info);
    }
    return e;
}

static void done_get(struct job *j, enum err e);

static void look_again(struct call *c)
{
    call_store(c, run_get, done_get);
}

static void on_wait_over(void *arg)
{
    struct call *c = arg;
    c->wait_until_ms = 0; /* one more look, then the answer */
    call_stop_waiting(c);
    look_again(c);
}

void api_stop(struct api *a)
{
    a->stopping = true;
    while (a->waiters != NULL)
        on_wait_over(a->waiters);
}

static bool wait_more(struct call *c)
{
    int64_t left_ms = c->wait_until_ms - clock_mono_ms();
    if (c->wait_until_ms == 0 || left_ms <= 0 || c->req == NULL || c->api->stopping)
        return false;
    if (c->timer == NULL &&
        loop_timer_new(&c->timer, c->api->parts.loop, on_wait_over, c) != ERR_OK)
        return false;
    loop_timer_set(c->timer, left_ms);
    call_start_waiting(c);
    return true;
}

static void done_get(struct job *j, enum err e)
{
    struct call *c = (struct call *)j;
    if (e != ERR_OK) {
        if (!call_device_refused(c, e))
            call_store_failed(c, e);
    } else if (c->order.state == ORDER_ILLEGAL) {
        call_problem(c, 404, "no-certificate", "nothing was asked for yet: POST a request first",
                     0);
    } else if (c->order.state == ORDER_INVALID) {
        respond_invalid(c);
    } else if (c->order.state != ORDER_VALID) {
        if (!wait_more(c))
            respond_pending(c);
    } else if (c->revoked) {
        respond_revoked(c);
    } else if (c->cert.not_after <= clock_now_s()) {
        call_problem(c, 409, "new-csr-needed", "the certificate has expired", 0);
    } else {
        call_respond(c, 200, PEM_CHAIN, buf_span(&c->chain));
    }
}

void get_certificate(struct call *c)
{
    char wait[8] = "0";
    char *end;
    if (httpd_query(c->req)[0] != 0 && !httpd_query_get(c->req, "wait", wait, sizeof wait)) {
        call_problem(c, 400, "malformed", "the only parameter is wait=SECONDS", 0);
        return;
    }
    long s = strtol(wait, &end, 10);
    if (*end != 0 || end == wait || s < 0) {
        call_problem(c, 400, "malformed", "wait is a number of seconds", 0);
        return;
    }
    if (s > WAIT_MAX_S)
        s = WAIT_MAX_S;
    c->wait_until_ms = s > 0 ? clock_mono_ms() + s * 1000 : 0;
    look_again(c);
}

void api_on_change(void *api, const char *device_id)
{
    struct api *a = api;
    struct call *next;
    for (struct call *c = a->waiters; c != NULL; c = next) {
        next = c->next;
        if (strcmp(c->id.text, device_id) == 0) {
            call_stop_waiting(c);
            look_again(c);
        }
    }
}
