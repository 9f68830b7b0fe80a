#include "provisiond/revoker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/pki/cert.h"
#include "provisiond/store/audit.h"
#include "provisiond/store/revocation.h"

#define EVERY_MS 5000
#define LEASE_S 300
#define RETRY_FIRST_S 10
#define RETRY_MAX_S 21600
#define CHAIN_MAX (128 * 1024)

struct revoker {
    struct job job; /* first; one at a time */
    struct revoker_parts parts;
    struct loop_timer *timer;
    struct revocation_row row;
    struct buf chain;
    enum issuer_verdict verdict;
    char problem[256]; /* "" when the CA has done it */
    int64_t retry_after_s;
};

static void submit(struct revoker *r, enum err (*run)(struct job *j, void *ctx),
                   void (*done)(struct job *j, enum err e))
{
    r->job.run = run;
    r->job.done = done;
    jobs_submit(r->parts.store, &r->job);
}

static enum err run_claim(struct job *j, void *ctx)
{
    struct revoker *r = (struct revoker *)j;
    int64_t now = clock_now_s();
    return revocation_claim(ctx, now, now + LEASE_S, &r->row, &r->chain, &j->info);
}

/* --- what the CA said --- */

static int64_t retry_s(const struct revoker *r)
{
    int64_t s = RETRY_FIRST_S;
    for (int64_t i = 0; i < r->row.failures && s < RETRY_MAX_S; i++)
        s *= 2;
    if (s < r->retry_after_s)
        s = r->retry_after_s;
    return s < RETRY_MAX_S ? s : RETRY_MAX_S;
}

/* What more attempts will not change. */
static bool is_final(enum issuer_verdict v)
{
    return v == ISSUER_OK || v == ISSUER_PERMANENT || v == ISSUER_DEVICE;
}

static enum err run_end(struct job *j, void *ctx)
{
    struct revoker *r = (struct revoker *)j;
    int64_t now = clock_now_s();
    if (!is_final(r->verdict))
        return revocation_retry(ctx, r->row.order_id, r->problem, now + retry_s(r), &j->info);
    struct audit_row row = { .seq = 0 };
    (void)snprintf(row.device_id, sizeof row.device_id, "%s", r->row.device_id);
    (void)snprintf(row.actor, sizeof row.actor, "service");
    (void)snprintf(row.action, sizeof row.action, "%s",
                   r->verdict == ISSUER_OK ? "revoked" : "revoke-failed");
    (void)snprintf(row.detail, sizeof row.detail, "order %lld at %.60s%s%.160s",
                   (long long)r->row.order_id, r->row.issuer, r->problem[0] != 0 ? ": " : "",
                   r->problem);
    enum err e = revocation_end(ctx, r->row.order_id, r->problem, now, &j->info);
    return e == ERR_OK ? audit_append(ctx, &row, now, &j->info) : e;
}

static void on_ended(struct job *j, enum err e)
{
    struct revoker *r = (struct revoker *)j;
    if (e != ERR_OK)
        log_error("%s", j->info.text);
    else if (r->verdict == ISSUER_OK)
        log_info("a certificate of zone %s was revoked (%s)", r->row.zone,
                 revocation_reason_name(r->row.reason));
    else
        log_warn("a revocation at %s did not work out: %s", r->row.issuer, r->problem);
    loop_timer_set(r->timer, e == ERR_OK ? 0 : EVERY_MS); /* there may be more */
}

static void end(struct revoker *r, enum issuer_verdict verdict, const char *problem,
                int64_t retry_after_s)
{
    r->verdict = verdict;
    r->retry_after_s = retry_after_s;
    (void)snprintf(r->problem, sizeof r->problem, "%.255s", problem);
    submit(r, run_end, on_ended);
}

static void on_reply(void *arg, const struct issuer_reply *reply)
{
    bool ok = reply->verdict == ISSUER_OK;
    const char *why = reply->info.text[0] != 0 ? reply->info.text : "the CA did not say why";
    end(arg, reply->verdict, ok ? "" : why, reply->retry_after_s);
}

/* --- asking it --- */

static struct issuer *issuer_of(const struct revoker *r)
{
    const struct config *c = r->parts.config;
    for (size_t i = 0; i < c->n_issuers; i++) {
        if (strcmp(c->issuers[i].name, r->row.issuer) == 0)
            return issuers_find(r->parts.issuers, i, r->row.account, 0);
    }
    return NULL;
}

static void ask(struct revoker *r)
{
    STACK_OF(X509) *chain = NULL;
    unsigned char *der = NULL;
    struct issuer *is = issuer_of(r);
    if (is == NULL) {
        end(r, ISSUER_HUMAN, "its issuer is not in the configuration", 0);
        return;
    }
    int n = 0;
    if (cert_chain_parse(&chain, buf_span(&r->chain), NULL) == ERR_OK)
        n = i2d_X509(sk_X509_value(chain, 0), &der);
    if (n > 0) {
        struct issuer_revocation what = { .cert_der = { der, (size_t)n },
                                          .reason = (enum issuer_reason)r->row.reason };
        is->ops->revoke(is, &what, on_reply, r);
    } else {
        end(r, ISSUER_PERMANENT, "the stored certificate cannot be read", 0);
    }
    OPENSSL_free(der);
    sk_X509_pop_free(chain, X509_free);
}

static void on_claimed(struct job *j, enum err e)
{
    struct revoker *r = (struct revoker *)j;
    if (e == ERR_OK) {
        ask(r);
        return;
    }
    if (e != ERR_NOTFOUND)
        log_error("%s", j->info.text);
    loop_timer_set(r->timer, EVERY_MS);
}

static void on_timer(void *arg)
{
    submit(arg, run_claim, on_claimed);
}

enum err revoker_new(struct revoker **out, const struct revoker_parts *parts)
{
    struct revoker *r = calloc(1, sizeof *r);
    if (r == NULL || loop_timer_new(&r->timer, parts->loop, on_timer, r) != ERR_OK) {
        free(r);
        return ERR_NOMEM;
    }
    r->parts = *parts;
    buf_init(&r->chain, CHAIN_MAX);
    loop_timer_set(r->timer, 0);
    *out = r;
    return ERR_OK;
}

void revoker_free(struct revoker *r)
{
    if (r == NULL)
        return;
    loop_timer_free(r->timer);
    buf_clear(&r->chain);
    free(r);
}
