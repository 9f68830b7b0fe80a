#include "provisiond/local/local.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/secret.h"
#include "common/pki/cert.h"
#include "provisiond/local/issued.h"

#define ORDER_SCHEME "local:order:" /* then 32 hexadecimal digits and ",NAME" for each name */
#define ORDER_NONCE_BYTES 16
#define LOCAL_ACCOUNT "local"
#define CERT_SCHEME "local:cert:" /* then the key of issued.h */
#define KEEP_S ((int64_t)7 * 86400)
#define PRUNE_EVERY_S 3600

enum job_kind {
    JOB_ORDER_NEW,
    JOB_ORDER_GET,
    JOB_AUTHZ,
    JOB_FINALIZE,
    JOB_DOWNLOAD,
    JOB_WINDOW,
    JOB_ACCOUNT,
    JOB_REVOKE,
    JOB_PROBE,
};

/* One call, kept until the loop comes round: callbacks never run inside the call. */
struct job {
    struct job *next;
    enum job_kind kind;
    char url[ISSUER_URL_MAX];
    struct span csr; /* kept behind the job */
    enum issuer_account_act act;
    union issuer_fn fn;
    void *arg;
};

struct local {
    struct issuer is; /* first */
    struct localca *ca;
    int64_t life_s, prune_at;
    const char *crl_url;
    struct loop_timer *timer;
    struct job *head, **tail;
};

struct order_names {
    char text[ISSUER_URL_MAX]; /* the names below point in here */
    const char *names[ISSUER_NAMES_MAX];
    size_t n;
};

static void reply_fail(struct issuer_reply *r, enum issuer_verdict verdict, const char *type,
                       const char *why)
{
    r->verdict = verdict;
    (void)snprintf(r->type, sizeof r->type, "%s", type);
    (void)err_set(&r->info, ERR_OK, "%s", why);
}

static bool order_url_make(char out[ISSUER_URL_MAX], const char *const *names, size_t n_names)
{
    uint8_t nonce[ORDER_NONCE_BYTES];
    struct buf b;
    buf_init(&b, ISSUER_URL_MAX - 1);
    secret_random(nonce, sizeof nonce);
    buf_add_str(&b, ORDER_SCHEME);
    for (size_t i = 0; i < sizeof nonce; i++)
        buf_add_fmt(&b, "%02x", nonce[i]);
    for (size_t i = 0; i < n_names; i++)
        buf_add_fmt(&b, ",%s", names[i]);
    bool ok = buf_error(&b) == ERR_OK && n_names > 0 && n_names <= ISSUER_NAMES_MAX;
    if (ok)
        memcpy(out, buf_str(&b), b.len + 1);
    buf_clear(&b);
    return ok;
}

static bool order_url_parse(const char *url, struct order_names *out)
{
    size_t prefix = strlen(ORDER_SCHEME), nonce = 2 * ORDER_NONCE_BYTES;
    if (strncmp(url, ORDER_SCHEME, prefix) != 0 ||
        strspn(url + prefix, "0123456789abcdef") != nonce || url[prefix + nonce] != ',')
        return false;
    (void)snprintf(out->text, sizeof out->text, "%s", url + prefix + nonce + 1);
    out->n = 0;
    char *save = NULL;
    for (char *p = strtok_r(out->text, ",", &save); p != NULL; p = strtok_r(NULL, ",", &save)) {
        if (out->n == ISSUER_NAMES_MAX)
            return false;
        out->names[out->n++] = p;
    }
    return out->n > 0;
}

static void order_ready(struct issuer_order *order, const char *url)
{
    order->status = ISSUER_READY;
    (void)snprintf(order->url, sizeof order->url, "%s", url);
    (void)snprintf(order->finalize_url, sizeof order->finalize_url, "%s", url);
}

static enum err sign(struct local *is, const struct order_names *names, struct span csr,
                     struct buf *pem, struct issuer_reply *r)
{
    const unsigned char *p = csr.p;
    X509_REQ *req = d2i_X509_REQ(NULL, &p, (long)csr.len);
    EVP_PKEY *key = req == NULL ? NULL : X509_REQ_get0_pubkey(req);
    struct localca_leaf leaf = { .names = names->names,
                                 .n_names = names->n,
                                 .now_s = clock_now_s(),
                                 .life_s = is->life_s,
                                 .crl_url = is->crl_url };
    enum err e = ERR_INVALID;
    if (key == NULL || X509_REQ_verify(req, key) != 1) {
        reply_fail(r, ISSUER_DEVICE, "badCSR", "the request is not signed by the key in it");
    } else {
        e = localca_issue(is->ca, key, &leaf, pem, &r->info);
        if (e != ERR_OK)
            r->verdict = e == ERR_INVALID ? ISSUER_PERMANENT : ISSUER_RETRY;
    }
    X509_REQ_free(req);
    ERR_clear_error();
    return e;
}

static void prune(struct local *is)
{
    int64_t now_s = clock_now_s();
    if (now_s >= is->prune_at || is->prune_at > now_s + PRUNE_EVERY_S) {
        issued_prune(localca_dir(is->ca), now_s - KEEP_S);
        is->prune_at = now_s + PRUNE_EVERY_S;
    }
}

static void finalize(struct local *is, const struct job *job, struct issuer_order *order)
{
    struct order_names names;
    struct issued_key key;
    struct buf pem;
    if (!order_url_parse(job->url, &names)) {
        reply_fail(&order->reply, ISSUER_NEW_ORDER, "malformed", "not an order of the local CA");
        return;
    }
    buf_init(&pem, CERT_PEM_MAX);
    enum err e = issued_key_make(&key, job->url, job->csr);
    if (e == ERR_OK)
        e = issued_get(localca_dir(is->ca), key.text, &pem, &order->reply.info);
    if (e == ERR_NOTFOUND) {
        e = sign(is, &names, job->csr, &pem, &order->reply);
        if (e == ERR_OK)
            e = issued_put(localca_dir(is->ca), key.text, buf_span(&pem), &order->reply.info);
        prune(is);
    }
    buf_clear(&pem);
    order_ready(order, job->url);
    if (e != ERR_OK) {
        if (order->reply.verdict == ISSUER_OK)
            order->reply.verdict = ISSUER_RETRY;
        return;
    }
    order->reply.info.text[0] = 0;
    order->status = ISSUER_VALID;
    (void)snprintf(order->certificate_url, sizeof order->certificate_url, CERT_SCHEME "%s",
                   key.text);
}

static void order_get(const struct job *job, struct issuer_order *order)
{
    struct order_names names;
    if (order_url_parse(job->url, &names))
        order_ready(order, job->url);
    else
        reply_fail(&order->reply, ISSUER_NEW_ORDER, "malformed", "not an order of the local CA");
}

static void run_order(struct local *is, const struct job *job)
{
    struct issuer_order order = { .status = ISSUER_OTHER, .account = LOCAL_ACCOUNT };
    if (job->kind == JOB_FINALIZE)
        finalize(is, job, &order);
    else if (job->kind == JOB_ORDER_NEW && job->url[0] == 0)
        reply_fail(&order.reply, ISSUER_PERMANENT, "rejectedIdentifier", "the names are too long");
    else
        order_get(job, &order);
    job->fn.order(job->arg, &order);
}

static void run_authz(const struct job *job)
{
    struct issuer_authz authz = { .status = ISSUER_OTHER, .challenge_status = ISSUER_OTHER };
    reply_fail(&authz.reply, ISSUER_NEW_ORDER, "malformed", "the local CA has no authorisations");
    job->fn.authz(job->arg, &authz);
}

static void run_download(struct local *is, const struct job *job)
{
    struct issuer_chain chain = { .pem = { NULL, 0 } };
    struct buf pem;
    size_t prefix = strlen(CERT_SCHEME);
    buf_init(&pem, CERT_PEM_MAX);
    enum err e = strncmp(job->url, CERT_SCHEME, prefix) != 0
                     ? ERR_NOTFOUND
                     : issued_get(localca_dir(is->ca), job->url + prefix, &pem, &chain.reply.info);
    if (e == ERR_NOTFOUND)
        reply_fail(&chain.reply, ISSUER_NEW_ORDER, "malformed",
                   "the local CA does not keep this certificate any more");
    else if (e != ERR_OK)
        chain.reply.verdict = ISSUER_RETRY;
    chain.pem = buf_span(&pem);
    job->fn.chain(job->arg, &chain);
    buf_clear(&pem);
}

static void run_window(const struct job *job)
{
    struct issuer_window window = { .reply = { .retry_after_s = KEEP_S } };
    reply_fail(&window.reply, ISSUER_PERMANENT, "", "the local CA has no renewal information");
    job->fn.window(job->arg, &window);
}

static void run_account(const struct job *job)
{
    struct issuer_account account = { .status = ISSUER_VALID, .url = LOCAL_ACCOUNT };
    if (job->act != ISSUER_ACCOUNT_SHOW)
        reply_fail(&account.reply, ISSUER_PERMANENT, "", "the local CA has no accounts");
    job->fn.account(job->arg, &account);
}

static void run_done(const struct job *job)
{
    struct issuer_reply reply = { .verdict =
                                      ISSUER_OK }; /* revoked: the list follows the database */
    job->fn.done(job->arg, &reply);
}

static void job_run(struct local *is, const struct job *job)
{
    switch (job->kind) {
    case JOB_ORDER_NEW:
    case JOB_ORDER_GET:
    case JOB_FINALIZE:
        run_order(is, job);
        break;
    case JOB_AUTHZ:
        run_authz(job);
        break;
    case JOB_DOWNLOAD:
        run_download(is, job);
        break;
    case JOB_WINDOW:
        run_window(job);
        break;
    case JOB_ACCOUNT:
        run_account(job);
        break;
    case JOB_REVOKE:
    case JOB_PROBE:
        run_done(job);
        break;
    }
}

/* One job a turn, and nothing after it, so that a callback may add others or free the issuer. */
static void on_timer(void *arg)
{
    struct local *is = arg;
    struct job *job = is->head;
    if (job == NULL)
        return;
    is->head = job->next;
    if (is->head == NULL)
        is->tail = &is->head;
    else
        loop_timer_set(is->timer, 0);
    job_run(is, job);
    free(job);
}

/* Queues a copy of `model` with its CSR behind it. Without memory the job runs at once: a callback
 * too early is better than none. */
static void job_start(struct issuer *base, const struct job *model)
{
    struct local *is = (struct local *)base;
    struct job *job = malloc(sizeof *job + model->csr.len);
    if (job == NULL) {
        job_run(is, model);
        return;
    }
    *job = *model;
    job->next = NULL;
    job->csr.p =
        memcpy(job + 1, model->csr.len > 0 ? model->csr.p : (const uint8_t *)"", model->csr.len);
    *is->tail = job;
    is->tail = &job->next;
    loop_timer_set(is->timer, 0);
}

static void set_url(struct job *job, const char *url)
{
    (void)snprintf(job->url, sizeof job->url, "%s", url);
}

static void local_order_new(struct issuer *base, const struct issuer_params *params,
                            issuer_order_fn *fn, void *arg)
{
    struct job job = { .kind = JOB_ORDER_NEW, .fn.order = fn, .arg = arg };
    if (!order_url_make(job.url, params->names, params->n_names))
        job.url[0] = 0;
    job_start(base, &job);
}

static void local_order_get(struct issuer *base, const char *url, issuer_order_fn *fn, void *arg)
{
    struct job job = { .kind = JOB_ORDER_GET, .fn.order = fn, .arg = arg };
    set_url(&job, url);
    job_start(base, &job);
}

static void local_authz(struct issuer *base, const char *url, issuer_authz_fn *fn, void *arg)
{
    struct job job = { .kind = JOB_AUTHZ, .fn.authz = fn, .arg = arg };
    set_url(&job, url);
    job_start(base, &job);
}

static void local_finalize(struct issuer *base, const struct issuer_order *order,
                           struct span csr_der, issuer_order_fn *fn, void *arg)
{
    struct job job = { .kind = JOB_FINALIZE, .csr = csr_der, .fn.order = fn, .arg = arg };
    set_url(&job, order->finalize_url);
    job_start(base, &job);
}

static void local_download(struct issuer *base, const char *certificate_url, issuer_chain_fn *fn,
                           void *arg)
{
    struct job job = { .kind = JOB_DOWNLOAD, .fn.chain = fn, .arg = arg };
    set_url(&job, certificate_url);
    job_start(base, &job);
}

static void local_renewal_info(struct issuer *base, const char *cert_id, issuer_window_fn *fn,
                               void *arg)
{
    (void)cert_id;
    job_start(base, &(struct job){ .kind = JOB_WINDOW, .fn.window = fn, .arg = arg });
}

static void local_revoke(struct issuer *base, const struct issuer_revocation *what,
                         issuer_done_fn *fn, void *arg)
{
    (void)what;
    job_start(base, &(struct job){ .kind = JOB_REVOKE, .fn.done = fn, .arg = arg });
}

static void local_account(struct issuer *base, enum issuer_account_act act, issuer_account_fn *fn,
                          void *arg)
{
    job_start(base, &(struct job){ .kind = JOB_ACCOUNT, .act = act, .fn.account = fn, .arg = arg });
}

static void local_probe(struct issuer *base, issuer_done_fn *fn, void *arg)
{
    job_start(base, &(struct job){ .kind = JOB_PROBE, .fn.done = fn, .arg = arg });
}

static void local_facts(const struct issuer *base, struct issuer_facts *out)
{
    (void)base;
    *out = (struct issuer_facts){ .account = LOCAL_ACCOUNT,
                                  .known = true,
                                  .has_revocation = true,
                                  .terms = "",
                                  .agreed_terms = "" };
}

static void local_free(struct issuer *base)
{
    struct local *is = (struct local *)base;
    if (is == NULL)
        return;
    while (is->head != NULL) {
        struct job *next = is->head->next;
        free(is->head);
        is->head = next;
    }
    loop_timer_free(is->timer);
    free(is);
}

static const struct issuer_ops OPS = {
    .order_new = local_order_new,
    .order_get = local_order_get,
    .authz_get = local_authz,
    .challenge_start = local_authz,
    .finalize = local_finalize,
    .download = local_download,
    .renewal_info = local_renewal_info,
    .revoke = local_revoke,
    .account = local_account,
    .probe = local_probe,
    .facts = local_facts,
    .free = local_free,
};

enum err local_issuer_new(struct issuer **out, struct loop *l, const struct local_options *o)
{
    struct local *is = calloc(1, sizeof *is);
    if (is == NULL)
        return ERR_NOMEM;
    is->is = (struct issuer){ .ops = &OPS, .name = o->name };
    is->ca = o->ca;
    is->life_s = o->life_s > 0 ? o->life_s : LOCAL_LIFE_S;
    is->crl_url = o->crl_url;
    is->tail = &is->head;
    enum err e = loop_timer_new(&is->timer, l, on_timer, is);
    if (e != ERR_OK) {
        local_free(&is->is);
        return e;
    }
    *out = &is->is;
    return ERR_OK;
}
