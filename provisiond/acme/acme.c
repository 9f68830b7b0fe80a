#include "provisiond/acme/acme.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "provisiond/acme/conn.h"
#include "provisiond/acme/jws.h"
#include "provisiond/acme/message.h"

#define PAYLOAD_MAX MESSAGE_MAX

struct acme {
    struct issuer is; /* first */
    struct conn *conn;
};

/* One call of the interface, until its reply. */
struct op {
    struct acme *acme;
    union {
        issuer_order_fn *order;
        issuer_authz_fn *authz;
        issuer_chain_fn *chain;
    } fn;
    void *arg;
    bool is_new;                    /* the order's URL is in the Location header */
    char order_url[ISSUER_URL_MAX]; /* otherwise */
};

/* An object of the CA that has failed for good: by its error where it has one. What the table
 * would repeat needs a new order here, as this one is over. */
static void describe_lost(struct issuer_reply *reply, bool has_error,
                          const struct errors_problem *error, const char *otherwise)
{
    if (has_error)
        errors_fill(reply, ERRORS_VALIDATION, error);
    else
        (void)err_set(&reply->info, ERR_REMOTE, "%s", otherwise);
    if (reply->verdict == ISSUER_OK || reply->verdict == ISSUER_RETRY ||
        reply->verdict == ISSUER_RESUME)
        reply->verdict = ISSUER_NEW_ORDER;
}

/* --- orders ---------------------------------------------------------------------------------- */

/* Some CAs shuffle the list in every reply: sorted, an index into it keeps its meaning. */
static void sort_authz_urls(struct message_order *m)
{
    char tmp[ISSUER_URL_MAX];
    for (size_t i = 1; i < m->n_authz; i++) {
        for (size_t k = i; k > 0 && strcmp(m->authz_url[k - 1], m->authz_url[k]) > 0; k--) {
            memcpy(tmp, m->authz_url[k], sizeof tmp);
            memcpy(m->authz_url[k], m->authz_url[k - 1], sizeof tmp);
            memcpy(m->authz_url[k - 1], tmp, sizeof tmp);
        }
    }
}

static void fill_order(struct issuer_order *out, const struct message_order *m)
{
    out->status = m->status;
    out->n_authz = m->n_authz;
    memcpy(out->finalize_url, m->finalize_url, sizeof out->finalize_url);
    memcpy(out->certificate_url, m->certificate_url, sizeof out->certificate_url);
    memcpy(out->authz_url, m->authz_url, sizeof out->authz_url);
    if (m->status == ISSUER_INVALID)
        describe_lost(&out->reply, m->has_error, &m->error, "the CA's order is invalid");
}

static void on_order(void *arg, const struct conn_reply *reply)
{
    struct op *op = arg;
    struct message_order m;
    struct issuer_order order = { .reply = reply->reply, .status = ISSUER_OTHER };
    const char *url = op->is_new ? reply->location : op->order_url;
    (void)snprintf(order.url, sizeof order.url, "%s", url);
    if (order.reply.verdict == ISSUER_OK) {
        if (order.url[0] == 0) {
            order.reply.verdict = ISSUER_RETRY;
            (void)err_set(&order.reply.info, ERR_REMOTE, "the CA did not say the order's URL");
        } else if (message_parse_order(reply->body, &m, &order.reply.info) == ERR_OK) {
            sort_authz_urls(&m);
            fill_order(&order, &m);
        } else {
            order.reply.verdict = ISSUER_RETRY;
        }
    }
    op->fn.order(op->arg, &order);
}

/* --- authorisations -------------------------------------------------------------------------- */

static void fill_challenge(const struct op *op, struct issuer_authz *out,
                           const struct message_challenge *m)
{
    out->has_dns01 = true;
    out->challenge_status = m->status;
    /* while it is "processing" an error is only one failed try of several [RFC 8555 s8.2]; when
     * "pending" the CA has given up, whatever the word [seen with Caddy] */
    out->challenge_failed =
        m->status == ISSUER_INVALID || (m->has_error && m->status == ISSUER_PENDING);
    memcpy(out->challenge_url, m->url, sizeof out->challenge_url);
    if (m->token[0] != 0)
        jws_txt_value(out->txt_value, m->token, conn_thumbprint(op->acme->conn));
    if (out->challenge_failed)
        describe_lost(&out->reply, m->has_error, &m->error, "the CA's challenge has failed");
}

static void fill_authz(const struct op *op, struct issuer_authz *out, const struct message_authz *m)
{
    if (m->has_dns01)
        fill_challenge(op, out, &m->dns01);
    out->status = m->status;
    if (m->status == ISSUER_VALID)
        out->reply.verdict = ISSUER_OK; /* an error in it is history */
    else if (m->status == ISSUER_INVALID && out->reply.verdict == ISSUER_OK)
        describe_lost(&out->reply, false, NULL, "the CA's authorisation is no longer good");
    else if (m->status == ISSUER_PENDING && !m->has_dns01) {
        out->reply.verdict = ISSUER_HUMAN;
        (void)err_set(&out->reply.info, ERR_REMOTE, "the CA offers no dns-01 challenge");
    }
}

static void on_authz(void *arg, const struct conn_reply *reply)
{
    struct op *op = arg;
    struct message_authz m;
    struct issuer_authz authz = { .reply = reply->reply,
                                  .status = ISSUER_OTHER,
                                  .challenge_status = ISSUER_OTHER };
    if (authz.reply.verdict == ISSUER_OK) {
        if (message_parse_authz(reply->body, &m, &authz.reply.info) == ERR_OK)
            fill_authz(op, &authz, &m);
        else
            authz.reply.verdict = ISSUER_RETRY;
    }
    op->fn.authz(op->arg, &authz);
}

static void on_challenge(void *arg, const struct conn_reply *reply)
{
    struct op *op = arg;
    struct message_challenge m;
    struct issuer_authz authz = { .reply = reply->reply,
                                  .status = ISSUER_OTHER,
                                  .challenge_status = ISSUER_OTHER };
    if (authz.reply.verdict == ISSUER_OK) {
        if (message_parse_challenge(reply->body, &m, &authz.reply.info) == ERR_OK)
            fill_challenge(op, &authz, &m);
        else
            authz.reply.verdict = ISSUER_RETRY;
    }
    op->fn.authz(op->arg, &authz);
}

/* --- certificate ----------------------------------------------------------------------------- */

static void on_chain(void *arg, const struct conn_reply *reply)
{
    static const char BEGIN[] = "-----BEGIN CERTIFICATE-----";
    struct op *op = arg;
    struct issuer_chain chain = { .reply = reply->reply, .pem = reply->body };
    if (chain.reply.verdict == ISSUER_OK &&
        (chain.pem.len == 0 ||
         memmem(chain.pem.p, chain.pem.len, BEGIN, sizeof BEGIN - 1) == NULL)) {
        chain.reply.verdict = ISSUER_RETRY;
        (void)err_set(&chain.reply.info, ERR_REMOTE, "the CA sent something else than a PEM chain");
    }
    op->fn.chain(op->arg, &chain);
}

/* --- the interface --------------------------------------------------------------------------- */

/* Hands `model` over to the connection; without memory the reply comes at once. */
static void post(const struct op *model, struct conn_request *q)
{
    struct op *op = malloc(sizeof *op);
    if (op != NULL) {
        *op = *model;
        q->op = op;
        conn_post(model->acme->conn, q);
        return;
    }
    struct op now = *model;
    struct conn_reply reply = { .reply = { .verdict = ISSUER_RETRY }, .location = "" };
    (void)err_set(&reply.reply.info, ERR_NOMEM, "out of memory");
    q->fn(&now, &reply);
}

/* As post(), for a payload that was built into `payload`, which is cleared. */
static void post_payload(const struct op *model, struct conn_request *q, struct buf *payload)
{
    q->payload = buf_span(payload);
    post(model, q);
    buf_clear(payload);
}

static void acme_order_new(struct issuer *is, const char *const *names, size_t n_names,
                           issuer_order_fn *fn, void *arg)
{
    struct op op = { .acme = (struct acme *)is, .fn.order = fn, .arg = arg, .is_new = true };
    struct conn_request q = { .context = ERRORS_NEW_ORDER, .fn = on_order };
    struct buf payload;
    buf_init(&payload, PAYLOAD_MAX);
    if (message_new_order(&payload, names, n_names) != ERR_OK)
        buf_clear(&payload); /* only memory can be short: sent empty, the CA refuses it */
    post_payload(&op, &q, &payload);
}

static void acme_order_get(struct issuer *is, const char *url, issuer_order_fn *fn, void *arg)
{
    struct op op = { .acme = (struct acme *)is, .fn.order = fn, .arg = arg };
    struct conn_request q = { .url = url, .context = ERRORS_ORDER, .fn = on_order };
    (void)snprintf(op.order_url, sizeof op.order_url, "%s", url);
    post(&op, &q);
}

static void acme_authz_get(struct issuer *is, const char *url, issuer_authz_fn *fn, void *arg)
{
    struct op op = { .acme = (struct acme *)is, .fn.authz = fn, .arg = arg };
    struct conn_request q = { .url = url, .context = ERRORS_ORDER, .fn = on_authz };
    post(&op, &q);
}

static void acme_challenge_start(struct issuer *is, const char *challenge_url, issuer_authz_fn *fn,
                                 void *arg)
{
    struct op op = { .acme = (struct acme *)is, .fn.authz = fn, .arg = arg };
    struct conn_request q = { .url = challenge_url,
                              .context = ERRORS_CHALLENGE,
                              .payload = span_str("{}"),
                              .fn = on_challenge };
    post(&op, &q);
}

static void acme_finalize(struct issuer *is, const struct issuer_order *order, struct span csr_der,
                          issuer_order_fn *fn, void *arg)
{
    struct op op = { .acme = (struct acme *)is, .fn.order = fn, .arg = arg };
    struct conn_request q = { .url = order->finalize_url,
                              .context = ERRORS_FINALIZE,
                              .fn = on_order };
    struct buf payload;
    (void)snprintf(op.order_url, sizeof op.order_url, "%s", order->url);
    buf_init(&payload, PAYLOAD_MAX);
    if (message_finalize(&payload, csr_der) != ERR_OK)
        buf_clear(&payload);
    post_payload(&op, &q, &payload);
}

static void acme_download(struct issuer *is, const char *certificate_url, issuer_chain_fn *fn,
                          void *arg)
{
    struct op op = { .acme = (struct acme *)is, .fn.chain = fn, .arg = arg };
    struct conn_request q = { .url = certificate_url,
                              .context = ERRORS_ORDER,
                              .accept = "application/pem-certificate-chain",
                              .fn = on_chain };
    post(&op, &q);
}

static void acme_free(struct issuer *is)
{
    struct acme *a = (struct acme *)is;
    if (a == NULL)
        return;
    conn_free(a->conn);
    free(a);
}

static const struct issuer_ops OPS = {
    .order_new = acme_order_new,
    .order_get = acme_order_get,
    .authz_get = acme_authz_get,
    .challenge_start = acme_challenge_start,
    .finalize = acme_finalize,
    .download = acme_download,
    .free = acme_free,
};

enum err acme_issuer_new(struct issuer **out, struct loop *l, const struct acme_options *o,
                         struct err_info *info)
{
    struct acme *a = calloc(1, sizeof *a);
    if (a == NULL)
        return ERR_NOMEM;
    a->is = (struct issuer){ .ops = &OPS, .name = o->name };
    enum err e = conn_new(&a->conn, l, o, info);
    if (e != ERR_OK) {
        free(a);
        return e;
    }
    *out = &a->is;
    return ERR_OK;
}
