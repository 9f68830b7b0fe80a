#include "provisiond/acme/acme.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/log.h"
#include "provisiond/acme/acmeop.h"
#include "provisiond/acme/chainpick.h"
#include "provisiond/acme/jws.h"
#include "provisiond/acme/persist.h"

#define CHAINS_MAX 5 /* of one certificate, looked at */

struct order_op {
    struct op op;                   /* first */
    char order_url[ISSUER_URL_MAX]; /* of the order that is looked at or finalized */
};

struct new_op {
    struct op op; /* first */
    char names[ISSUER_NAMES_MAX][MESSAGE_DOMAIN_MAX + 2];
    size_t n_names;
    char profile[ISSUER_PROFILE_MAX];
    char replaces[ISSUER_CERT_ID_MAX];
    int64_t not_before, not_after;
    bool replaces_refused, profile_dropped;
};

struct chain_op {
    struct op op;                          /* first */
    size_t at, n;                          /* the chain being fetched, of so many */
    bool final;                            /* whatever comes is delivered */
    char urls[CHAINS_MAX][ISSUER_URL_MAX]; /* the first is the CA's default */
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

/* The order in a reply; `url` is its own. */
static void read_order(const struct conn_reply *reply, const char *url, struct issuer_order *out)
{
    struct message_order m;
    *out = (struct issuer_order){ .reply = reply->reply, .status = ISSUER_OTHER };
    (void)snprintf(out->url, sizeof out->url, "%s", url);
    if (out->reply.verdict != ISSUER_OK)
        return;
    if (out->url[0] == 0) {
        out->reply.verdict = ISSUER_RETRY;
        (void)err_set(&out->reply.info, ERR_REMOTE, "the CA did not say the order's URL");
    } else if (message_parse_order(reply->body, &m, &out->reply.info) == ERR_OK) {
        sort_authz_urls(&m);
        fill_order(out, &m);
    } else {
        out->reply.verdict = ISSUER_RETRY;
    }
}

static void on_order(void *arg, const struct conn_reply *reply)
{
    const struct order_op *op = arg;
    struct issuer_order order;
    read_order(reply, op->order_url, &order);
    op->op.fn.order(op->op.arg, &order);
}

/* --- new orders --- */

static void on_new_order(void *arg, const struct conn_reply *reply);

static bool has_profile(const struct message_directory *dir, const char *profile)
{
    for (size_t i = 0; i < dir->n_profiles; i++)
        if (strcmp(dir->profiles[i], profile) == 0)
            return true;
    return false;
}

static enum err build_new_order(struct conn *c, const void *arg, struct buf *out)
{
    const struct new_op *op = arg;
    const char *names[ISSUER_NAMES_MAX];
    for (size_t i = 0; i < op->n_names; i++)
        names[i] = op->names[i];
    struct issuer_params params = {
        .names = names,
        .n_names = op->n_names,
        .profile = has_profile(conn_directory(c), op->profile) ? op->profile : NULL,
        .replaces = op->replaces,
        .not_before = op->not_before,
        .not_after = op->not_after,
    };
    return message_new_order(out, &params);
}

static void post_new_order(const struct new_op *op)
{
    struct conn_request q = { .target = CONN_NEW_ORDER,
                              .context = ERRORS_NEW_ORDER,
                              .build = build_new_order,
                              .fn = on_new_order };
    op_post(&op->op, sizeof *op, &q);
}

/* Whether the order was asked for again, without what the CA did not like: each at most once. */
static bool without(const struct new_op *op, const struct errors_problem *problem)
{
    struct new_op less = *op;
    if (op->replaces[0] != 0 && errors_is_replaces(problem)) {
        less.replaces[0] = 0;
        less.replaces_refused = true;
    } else if (op->profile[0] != 0 && errors_is_profile(problem)) {
        less.profile[0] = 0;
        less.profile_dropped = true;
    } else {
        return false;
    }
    log_info("issuer %s: ordered again without %s: %s", op->op.acme->is.name,
             less.replaces_refused != op->replaces_refused ? "replaces" : "the profile",
             problem->detail);
    post_new_order(&less);
    return true;
}

static void on_new_order(void *arg, const struct conn_reply *reply)
{
    const struct new_op *op = arg;
    struct conn *c = op->op.acme->conn;
    struct issuer_order order;
    if (reply->problem != NULL && without(op, reply->problem))
        return;
    read_order(reply, reply->location, &order);
    order.replaces_refused = op->replaces_refused;
    order.profile_dropped =
        op->profile_dropped || (order.reply.verdict == ISSUER_OK && op->profile[0] != 0 &&
                                !has_profile(conn_directory(c), op->profile));
    (void)snprintf(order.account, sizeof order.account, "%s", conn_account(c));
    op->op.fn.order(op->op.arg, &order);
}

/* --- authorisations -------------------------------------------------------------------------- */

/* The record that `m` wants: it names the CA as the directory does, and so the file of dnsd. */
static void fill_record(const struct op *op, struct issuer_authz *out,
                        const struct message_challenge *m)
{
    const struct conn *c = op->acme->conn;
    const struct message_domains *known = &conn_directory(c)->persist;
    const char *domain = m->persist.at[0];
    char uri[ISSUER_URL_MAX];
    for (size_t i = known->n; i > 0; i--)
        for (size_t k = 0; k < m->persist.n; k++)
            if (strcmp(known->at[i - 1], m->persist.at[k]) == 0)
                domain = known->at[i - 1];
    if (persist_uri(uri, conn_directory(c)->hash_prefix, signer_thumbprint(conn_signer(c)),
                    conn_account(c)) == ERR_OK &&
        persist_record(out->txt_value, domain, uri) == ERR_OK)
        return;
    out->reply.verdict = ISSUER_HUMAN;
    (void)err_set(&out->reply.info, ERR_LIMIT, "the record of %s would be too long",
                  op->acme->challenge->type);
}

static void fill_challenge(const struct op *op, struct issuer_authz *out,
                           const struct message_challenge *m)
{
    out->has_challenge = true;
    out->standing = !op->acme->challenge->has_token;
    out->challenge_status = m->status;
    /* while it is "processing" an error is only one failed try of several [RFC 8555 s8.2]; when
     * "pending" the CA has given up, whatever the word [seen with Caddy] */
    out->challenge_failed =
        m->status == ISSUER_INVALID || (m->has_error && m->status == ISSUER_PENDING);
    memcpy(out->challenge_url, m->url, sizeof out->challenge_url);
    if (m->token[0] != 0)
        jws_txt_value(out->txt_value, m->token, signer_thumbprint(conn_signer(op->acme->conn)));
    if (out->standing && m->persist.n > 0)
        fill_record(op, out, m);
    if (out->challenge_failed)
        describe_lost(&out->reply, m->has_error, &m->error, "the CA's challenge has failed");
}

static void fill_authz(const struct op *op, struct issuer_authz *out, const struct message_authz *m)
{
    if (m->has_challenge)
        fill_challenge(op, out, &m->challenge);
    out->status = m->status;
    if (m->status == ISSUER_VALID)
        out->reply.verdict = ISSUER_OK; /* an error in it is history */
    else if (m->status == ISSUER_INVALID && out->reply.verdict == ISSUER_OK)
        describe_lost(&out->reply, false, NULL, "the CA's authorisation is no longer good");
    else if (m->status == ISSUER_PENDING && !m->has_challenge) {
        out->reply.verdict = ISSUER_HUMAN;
        (void)err_set(&out->reply.info, ERR_REMOTE, "the CA offers no %s challenge",
                      op->acme->challenge->type);
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
        const struct challenge_kind *kind = op->acme->challenge;
        if (message_parse_authz(reply->body, kind->type, kind->has_token, &m, &authz.reply.info) ==
            ERR_OK)
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

static void on_chain(void *arg, const struct conn_reply *reply);

static void post_chain(const struct chain_op *op)
{
    struct conn_request q = { .url = op->urls[op->at],
                              .context = ERRORS_ORDER,
                              .accept = "application/pem-certificate-chain",
                              .fn = on_chain };
    op_post(&op->op, sizeof *op, &q);
}

/* Notes the CA's other chains from the reply with its default one. */
static void note_alternates(struct chain_op *op, const struct fetch_result *res)
{
    const char *link;
    for (size_t i = 0; op->n < CHAINS_MAX && (link = fetch_header_at(res, "Link", i)) != NULL; i++)
        if (chainpick_alternate(link, op->urls[0], op->urls[op->n]) &&
            message_url_ok(op->urls[op->n]))
            op->n++;
}

/* Whether another chain is fetched instead of delivering this one. */
static bool fetch_another(struct chain_op *op, const struct conn_reply *reply)
{
    const char *wanted = op->op.acme->prefer_chain;
    if (wanted == NULL || op->final || chainpick_matches(reply->body, wanted))
        return false;
    struct chain_op next = *op;
    if (op->at == 0)
        note_alternates(&next, reply->response);
    if (next.n == 1) {
        log_warn("issuer %s: has no chain up to %s: its default is taken", op->op.acme->is.name,
                 wanted);
        return false;
    }
    next.at++;
    if (next.at == next.n) {
        log_warn("issuer %s: no chain goes up to %s: its default is taken", op->op.acme->is.name,
                 wanted);
        next.at = 0;
        next.final = true;
    }
    post_chain(&next);
    return true;
}

static void on_chain(void *arg, const struct conn_reply *reply)
{
    static const char BEGIN[] = "-----BEGIN CERTIFICATE-----";
    struct chain_op *op = arg;
    struct issuer_chain chain = { .reply = reply->reply, .pem = reply->body };
    if (chain.reply.verdict == ISSUER_OK &&
        (chain.pem.len == 0 ||
         memmem(chain.pem.p, chain.pem.len, BEGIN, sizeof BEGIN - 1) == NULL)) {
        chain.reply.verdict = ISSUER_RETRY;
        (void)err_set(&chain.reply.info, ERR_REMOTE, "the CA sent something else than a PEM chain");
    }
    if (chain.reply.verdict != ISSUER_OK || !fetch_another(op, reply))
        op->op.fn.chain(op->op.arg, &chain);
}

/* --- the interface --------------------------------------------------------------------------- */

void op_post(const struct op *model, size_t size, struct conn_request *q)
{
    struct op *op = malloc(size);
    if (op != NULL) {
        memcpy(op, model, size);
        q->op = op;
        conn_post(model->acme->conn, q);
        return;
    }
    struct conn_reply reply = { .reply = { .verdict = ISSUER_RETRY }, .location = "" };
    (void)err_set(&reply.reply.info, ERR_NOMEM, "out of memory");
    union {
        struct op op;
        struct new_op new_op;
        struct order_op order_op;
        struct chain_op chain_op;
    } now;
    memcpy(&now, model, size < sizeof now ? size : sizeof now);
    q->fn(&now, &reply);
}

void op_post_payload(const struct op *model, size_t size, struct conn_request *q,
                     struct buf *payload)
{
    q->payload = buf_span(payload);
    op_post(model, size, q);
    buf_clear(payload);
}

static void acme_order_new(struct issuer *is, const struct issuer_params *params,
                           issuer_order_fn *fn, void *arg)
{
    struct new_op op = { .op = { (struct acme *)is, .fn.order = fn, .arg = arg },
                         .n_names = params->n_names,
                         .not_before = params->not_before,
                         .not_after = params->not_after };
    for (size_t i = 0; i < params->n_names; i++)
        (void)snprintf(op.names[i], sizeof op.names[i], "%s", params->names[i]);
    if (params->profile != NULL)
        (void)snprintf(op.profile, sizeof op.profile, "%s", params->profile);
    if (params->replaces != NULL)
        (void)snprintf(op.replaces, sizeof op.replaces, "%s", params->replaces);
    post_new_order(&op);
}

static void acme_order_get(struct issuer *is, const char *url, issuer_order_fn *fn, void *arg)
{
    struct order_op op = { .op = { (struct acme *)is, .fn.order = fn, .arg = arg } };
    struct conn_request q = { .url = url, .context = ERRORS_ORDER, .fn = on_order };
    (void)snprintf(op.order_url, sizeof op.order_url, "%s", url);
    op_post(&op.op, sizeof op, &q);
}

static void acme_authz_get(struct issuer *is, const char *url, issuer_authz_fn *fn, void *arg)
{
    struct op op = { .acme = (struct acme *)is, .fn.authz = fn, .arg = arg };
    struct conn_request q = { .url = url, .context = ERRORS_ORDER, .fn = on_authz };
    op_post(&op, sizeof op, &q);
}

static void acme_challenge_start(struct issuer *is, const char *challenge_url, issuer_authz_fn *fn,
                                 void *arg)
{
    struct op op = { .acme = (struct acme *)is, .fn.authz = fn, .arg = arg };
    struct conn_request q = { .url = challenge_url,
                              .context = ERRORS_CHALLENGE,
                              .payload = span_str("{}"),
                              .fn = on_challenge };
    op_post(&op, sizeof op, &q);
}

static void acme_finalize(struct issuer *is, const struct issuer_order *order, struct span csr_der,
                          issuer_order_fn *fn, void *arg)
{
    struct order_op op = { .op = { (struct acme *)is, .fn.order = fn, .arg = arg } };
    struct conn_request q = { .url = order->finalize_url,
                              .context = ERRORS_FINALIZE,
                              .fn = on_order };
    struct buf payload;
    (void)snprintf(op.order_url, sizeof op.order_url, "%s", order->url);
    buf_init(&payload, MESSAGE_MAX);
    if (message_finalize(&payload, csr_der) != ERR_OK)
        buf_clear(&payload); /* only memory can be short: sent empty, the CA refuses it */
    op_post_payload(&op.op, sizeof op, &q, &payload);
}

static void acme_download(struct issuer *is, const char *certificate_url, issuer_chain_fn *fn,
                          void *arg)
{
    struct chain_op op = { .op = { (struct acme *)is, .fn.chain = fn, .arg = arg }, .n = 1 };
    (void)snprintf(op.urls[0], sizeof op.urls[0], "%s", certificate_url);
    post_chain(&op);
}

static void acme_free(struct issuer *is)
{
    struct acme *a = (struct acme *)is;
    if (a == NULL)
        return;
    conn_free(a->conn);
    free(a->prefer_chain);
    free(a);
}

static const struct issuer_ops OPS = {
    .order_new = acme_order_new,
    .order_get = acme_order_get,
    .authz_get = acme_authz_get,
    .challenge_start = acme_challenge_start,
    .finalize = acme_finalize,
    .download = acme_download,
    .renewal_info = upkeep_renewal_info,
    .revoke = upkeep_revoke,
    .account = upkeep_account,
    .probe = upkeep_probe,
    .facts = upkeep_facts,
    .free = acme_free,
};

enum err acme_issuer_new(struct issuer **out, struct loop *l, const struct acme_options *o,
                         struct err_info *info)
{
    struct acme *a = calloc(1, sizeof *a);
    enum err e = ERR_OK;
    if (a == NULL)
        return ERR_NOMEM;
    a->is = (struct issuer){ .ops = &OPS, .name = o->name };
    a->challenge = challenge_kind_find(o->challenge);
    if (a->challenge == NULL)
        e = err_set(info, ERR_CONFIG, "there is no challenge of type %s", o->challenge);
    if (e == ERR_OK && o->prefer_chain != NULL &&
        (a->prefer_chain = strdup(o->prefer_chain)) == NULL)
        e = ERR_NOMEM;
    if (e == ERR_OK)
        e = conn_new(&a->conn, l, o, info);
    if (e != ERR_OK) {
        acme_free(&a->is);
        return e;
    }
    *out = &a->is;
    return ERR_OK;
}
