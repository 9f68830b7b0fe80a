#include "provisiond/acme/conn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/b64url.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "provisiond/acme/connstate.h"

#define TRIES_MAX 5 /* of one request that the CA refuses for its nonce */
#define PAUSE_MS                                                                                   \
    50 /* before the second try, twice that before the third, ...; up to as much more */
#define TIMEOUT_MS 60000 /* of one exchange: some CAs validate and issue while we wait */
#define DIRECTORY_LIFE_MS 3600000
#define RETRY_AFTER_MAX_S ((int64_t)7 * 86400)
#define REQUEST_MAX (96 * 1024)

static void req_step(struct req *r);

/* --- requests ------------------------------------------------------------------------------- */

static void req_free(struct req *r)
{
    loop_timer_free(r->timer);
    buf_clear(&r->payload);
    EVP_PKEY_free(r->cert_key);
    free(r->op);
    free(r);
}

static void req_unlink(struct req *r)
{
    *r->prev = r->next;
    if (r->next != NULL)
        r->next->prev = r->prev;
}

/* Delivers the reply and frees the request: the last thing that any path does with it. */
static void req_finish(struct req *r, const struct conn_reply *reply)
{
    req_unlink(r);
    if (r->own != NULL)
        r->own(r->c, reply);
    else
        r->fn(r->op, reply);
    req_free(r);
}

static void req_finish_empty(struct req *r, const struct issuer_reply *reply)
{
    struct conn_reply cr = { .reply = *reply, .location = "" };
    req_finish(r, &cr);
}

static void req_on_timer(void *arg)
{
    struct req *r = arg;
    if (r->state == REQ_FAILED)
        req_finish_empty(r, &r->reply);
    else if (r->state == REQ_START)
        req_step(r);
}

static void req_restart(struct req *r, int64_t delay_ms)
{
    r->state = REQ_START;
    loop_timer_set(r->timer, delay_ms);
}

static void req_fail_later(struct req *r, const struct issuer_reply *reply)
{
    r->reply = *reply;
    r->state = REQ_FAILED;
    loop_timer_set(r->timer, 0);
}

static void req_fail_err(struct req *r, enum err e, const struct err_info *info)
{
    struct issuer_reply reply = { .verdict = ISSUER_RETRY };
    reply.info = *info;
    if (info->text[0] == 0)
        (void)err_set(&reply.info, e, "cannot send a request to the CA: %s", err_name(e));
    req_fail_later(r, &reply);
}

/* Each by its own timer: none of their callbacks runs in here. */
void conn_wake(struct conn *c, enum req_state state, const struct issuer_reply *failure)
{
    for (struct req *r = c->reqs; r != NULL; r = r->next) {
        if (r->state != state)
            continue;
        if (failure != NULL)
            req_fail_later(r, failure);
        else
            req_restart(r, 0);
    }
}

static struct req *req_new(struct conn *c, const struct conn_request *q)
{
    struct req *r = calloc(1, sizeof *r);
    if (r == NULL)
        return NULL;
    r->c = c;
    r->target = q->target;
    r->proof = q->proof;
    r->context = q->context;
    r->accept = q->accept;
    r->build = q->build;
    r->fn = q->fn;
    r->fresh = q->target == CONN_DIRECTORY;
    if (q->cert_key != NULL && EVP_PKEY_up_ref(q->cert_key) == 1)
        r->cert_key = q->cert_key;
    (void)snprintf(r->url, sizeof r->url, "%s", q->url != NULL ? q->url : "");
    buf_init(&r->payload, MESSAGE_MAX);
    buf_add_span(&r->payload, q->payload);
    if (buf_error(&r->payload) != ERR_OK ||
        loop_timer_new(&r->timer, c->loop, req_on_timer, r) != ERR_OK) {
        req_free(r);
        return NULL;
    }
    r->op = q->op; /* only now: on failure it stays the caller's */
    r->next = c->reqs;
    r->prev = &c->reqs;
    if (r->next != NULL)
        r->next->prev = &r->next;
    c->reqs = r;
    req_restart(r, 0);
    return r;
}

void conn_post(struct conn *c, const struct conn_request *q)
{
    struct conn_reply reply = { .reply = { .verdict = ISSUER_RETRY }, .location = "" };
    if (req_new(c, q) != NULL)
        return;
    (void)err_set(&reply.reply.info, ERR_NOMEM, "out of memory");
    q->fn(q->op, &reply);
    free(q->op);
}

enum err conn_post_own(struct conn *c, const struct conn_request *q,
                       void (*own)(struct conn *c, const struct conn_reply *reply))
{
    struct req *r = req_new(c, q);
    if (r == NULL)
        return ERR_NOMEM;
    r->own = own;
    return ERR_OK;
}

/* --- what an exchange says about errors ------------------------------------------------------ */

/* Fills the reply for an exchange that gave no usable 2xx answer. */
static void describe_failure(struct conn *c, const struct fetch_result *res,
                             enum errors_context context, struct errors_problem *problem,
                             struct issuer_reply *reply)
{
    *reply = (struct issuer_reply){ .verdict = ISSUER_RETRY };
    memset(problem, 0, sizeof *problem);
    if (res->e != ERR_OK) {
        reply->info = res->info;
        c->dir_until_ms = 0; /* perhaps the CA has moved */
        return;
    }
    message_parse_problem(res->body, res->status, problem);
    errors_fill(reply, context, problem);
    int64_t now_s = clock_now_s();
    reply->retry_after_s = fetch_retry_after(res, now_s, RETRY_AFTER_MAX_S, 0);
    if (reply->retry_after_s == 0)
        reply->retry_after_s = errors_retry_after(problem->detail, now_s);
    if (res->status >= 500 || problem->type[0] == 0)
        c->dir_until_ms = 0;
}

static bool is_success(const struct fetch_result *res)
{
    return res->e == ERR_OK && res->status >= 200 && res->status < 300;
}

static void keep_nonce(struct conn *c, const struct fetch_result *res)
{
    if (res->e == ERR_OK)
        nonce_put(&c->nonces, fetch_header(res, "Replay-Nonce"), clock_mono_ms());
}

/* --- directory ------------------------------------------------------------------------------- */

static void directory_on_response(void *arg, const struct fetch_result *res)
{
    struct conn *c = arg;
    struct issuer_reply reply = { .verdict = ISSUER_RETRY };
    struct errors_problem problem;
    struct message_directory dir;
    c->dir_busy = false;
    if (!is_success(res)) {
        describe_failure(c, res, ERRORS_DIRECTORY, &problem, &reply);
    } else if (message_parse_directory(res->body, &dir, &reply.info) == ERR_OK) {
        c->dir = dir;
        c->dir_known = true;
        c->date_s = fetch_date(res);
        c->date_seen_s = clock_now_s();
        c->dir_until_ms = clock_mono_ms() + DIRECTORY_LIFE_MS;
        conn_wake(c, REQ_WAIT_DIRECTORY, NULL);
        return;
    }
    (void)err_prefix(&reply.info, ERR_REMOTE, "%s: ", c->directory_url);
    conn_wake(c, REQ_WAIT_DIRECTORY, &reply);
}

static void directory_start(struct conn *c)
{
    if (c->dir_busy)
        return;
    struct fetch_request q = {
        .method = "GET", .url = c->directory_url, .body_max = MESSAGE_MAX, .timeout_ms = TIMEOUT_MS
    };
    enum err e = fetch_start(c->fetch, &q, directory_on_response, c, NULL);
    if (e != ERR_OK) {
        struct issuer_reply reply = { .verdict = ISSUER_RETRY };
        (void)err_set(&reply.info, e, "cannot fetch %s: %s", c->directory_url, err_name(e));
        conn_wake(c, REQ_WAIT_DIRECTORY, &reply);
        return;
    }
    c->dir_busy = true;
}

/* --- the steps of a request ------------------------------------------------------------------ */

/* A refusal that another key, put into the file by the admin tool meanwhile, may turn. */
static bool may_be_the_key(const struct req *r, const struct errors_problem *problem)
{
    return !r->rekeyed && r->proof == CONN_BY_ACCOUNT &&
           (strcmp(problem->type, "unauthorized") == 0 || strcmp(problem->type, "malformed") == 0 ||
            strcmp(problem->type, "accountDoesNotExist") == 0);
}

static bool key_has_changed(struct req *r)
{
    if (signer_refresh(r->c->signer)) {
        log_info("issuer %s: the account key has changed", r->c->name);
        registration_load(r->c);
    } else if (signer_has_next(r->c->signer) && r->target != CONN_KEY_CHANGE) {
        r->c->account_url[0] = 0; /* perhaps that one counts: the CA is asked */
        return true;
    }
    return signer_generation(r->c->signer) != r->generation;
}

/* Whether the request was taken up again instead of being finished with this problem. */
static bool req_again(struct req *r, const struct errors_problem *problem)
{
    if (strcmp(problem->type, "badNonce") == 0 && r->tries < TRIES_MAX) {
        uint8_t jitter;
        secret_random(&jitter, sizeof jitter);
        int64_t pause_ms = PAUSE_MS * (int64_t)r->tries;
        req_restart(r, pause_ms + pause_ms * jitter / 256);
        return true;
    }
    if (may_be_the_key(r, problem) && key_has_changed(r)) {
        r->rekeyed = true;
        req_restart(r, 0);
        return true;
    }
    if (strcmp(problem->type, "accountDoesNotExist") == 0 && r->proof == CONN_BY_ACCOUNT &&
        !r->reregistered) {
        registration_forget(r->c, r->kid);
        r->reregistered = true;
        r->tries = 0;
        req_restart(r, 0);
        return true;
    }
    return false;
}

static void req_on_response(void *arg, const struct fetch_result *res)
{
    struct req *r = arg;
    struct errors_problem problem;
    struct conn_reply reply = { .location = "", .response = res };
    keep_nonce(r->c, res);
    if (is_success(res)) {
        const char *location = fetch_header(res, "Location");
        if (location != NULL && message_url_ok(location))
            reply.location = location;
        reply.body = res->body;
        reply.reply.retry_after_s = fetch_retry_after(res, clock_now_s(), RETRY_AFTER_MAX_S, 0);
        req_finish(r, &reply);
        return;
    }
    describe_failure(r->c, res, r->context, &problem, &reply.reply);
    if (res->e == ERR_OK)
        reply.problem = &problem;
    if (!req_again(r, &problem))
        req_finish(r, &reply);
}

/* Where it goes; "" when the CA does not have it. */
static void req_url(const struct req *r, char out[2 * ISSUER_URL_MAX])
{
    const struct message_directory *dir = &r->c->dir;
    const char *const URLS[] = {
        [CONN_URL] = r->url,
        [CONN_DIRECTORY] = r->c->directory_url,
        [CONN_NEW_ACCOUNT] = dir->new_account,
        [CONN_NEW_ORDER] = dir->new_order,
        [CONN_REVOKE_CERT] = dir->revoke_cert,
        [CONN_KEY_CHANGE] = dir->key_change,
        [CONN_RENEWAL_INFO] = dir->renewal_info,
        [CONN_ACCOUNT] = r->c->account_url,
    };
    const char *base = URLS[r->target];
    bool append = r->target == CONN_RENEWAL_INFO && base[0] != 0;
    (void)snprintf(out, 2 * ISSUER_URL_MAX, "%s%s%s", base,
                   append && base[strlen(base) - 1] != '/' ? "/" : "", append ? r->url : "");
}

static enum err req_sign(struct req *r, const struct jws_header *head, struct buf *out)
{
    struct conn *c = r->c;
    struct buf payload;
    enum err e = ERR_OK;
    buf_init(&payload, MESSAGE_MAX);
    if (r->build != NULL)
        e = r->build(c, r->op, &payload);
    struct span p = r->build != NULL ? buf_span(&payload) : buf_span(&r->payload);
    r->generation = signer_generation(c->signer);
    if (e == ERR_OK && r->proof == CONN_BY_CERT_KEY)
        e = jws_sign(out, r->cert_key, head, p);
    else if (e == ERR_OK)
        e = signer_sign(c->signer, r->proof == CONN_BY_NEXT_JWK ? SIGNER_NEXT : SIGNER_PRESENT,
                        head, p, out);
    buf_clear(&payload);
    return e;
}

static enum err req_send(struct req *r, const char *url, const char *nonce)
{
    struct conn *c = r->c;
    char accept[96];
    const char *headers[3] = { "Content-Type: application/jose+json", NULL, NULL };
    struct jws_header head = { .url = url, .nonce = nonce };
    struct buf body;
    if (r->accept != NULL) {
        (void)snprintf(accept, sizeof accept, "Accept: %s", r->accept);
        headers[1] = accept;
    }
    if (r->proof == CONN_BY_ACCOUNT) {
        memcpy(r->kid, c->account_url, sizeof r->kid);
        head.kid = r->kid;
    }
    buf_init(&body, REQUEST_MAX);
    enum err e = req_sign(r, &head, &body);
    if (e == ERR_OK) {
        struct fetch_request q = { .method = "POST",
                                   .url = url,
                                   .headers = headers,
                                   .body = buf_span(&body),
                                   .body_max = MESSAGE_MAX,
                                   .timeout_ms = TIMEOUT_MS };
        e = fetch_start(c->fetch, &q, req_on_response, r, NULL);
    }
    buf_clear(&body);
    return e;
}

static void req_sign_and_send(struct req *r, const char *nonce)
{
    struct err_info none = { "" };
    char url[2 * ISSUER_URL_MAX];
    req_url(r, url);
    r->state = REQ_EXCHANGE;
    r->tries++;
    enum err e = req_send(r, url, nonce);
    if (e != ERR_OK)
        req_fail_err(r, e, &none);
}

static void req_on_nonce(void *arg, const struct fetch_result *res)
{
    struct req *r = arg;
    struct conn_reply reply = { .location = "" };
    struct errors_problem problem;
    char nonce[NONCE_TEXT_MAX];
    keep_nonce(r->c, res);
    if (!is_success(res)) {
        describe_failure(r->c, res, ERRORS_NEW_NONCE, &problem, &reply.reply);
        req_finish(r, &reply);
    } else if (nonce_take(&r->c->nonces, nonce, clock_mono_ms())) {
        req_sign_and_send(r, nonce);
    } else {
        reply.reply.verdict = ISSUER_RETRY;
        (void)err_set(&reply.reply.info, ERR_REMOTE, "the CA gave no usable nonce");
        req_finish(r, &reply);
    }
}

static void req_fetch(struct req *r, const char *method, const char *url,
                      void (*fn)(void *arg, const struct fetch_result *res))
{
    struct err_info none = { "" };
    struct fetch_request q = {
        .method = method, .url = url, .body_max = MESSAGE_MAX, .timeout_ms = TIMEOUT_MS
    };
    r->state = REQ_EXCHANGE;
    enum err e = fetch_start(r->c->fetch, &q, fn, r, NULL);
    if (e != ERR_OK)
        req_fail_err(r, e, &none);
}

/* With directory and account there: what is sent now. */
static void req_step_on(struct req *r)
{
    struct conn *c = r->c;
    struct issuer_reply lacks = { .verdict = ISSUER_PERMANENT };
    char url[2 * ISSUER_URL_MAX], nonce[NONCE_TEXT_MAX];
    req_url(r, url);
    if (url[0] == 0) {
        (void)err_set(&lacks.info, ERR_REMOTE, "the CA does not offer this");
        req_fail_later(r, &lacks);
    } else if (r->target == CONN_DIRECTORY) {
        req_finish_empty(r, &(struct issuer_reply){ .verdict = ISSUER_OK });
    } else if (r->proof == CONN_UNSIGNED) {
        req_fetch(r, "GET", url, req_on_response);
    } else if (nonce_take(&c->nonces, nonce, clock_mono_ms())) {
        req_sign_and_send(r, nonce);
    } else {
        req_fetch(r, "HEAD", c->dir.new_nonce, req_on_nonce);
    }
}

/* Does what the request needs next. Called from its timer only. */
static void req_step(struct req *r)
{
    struct conn *c = r->c;
    if (r->fresh || clock_mono_ms() >= c->dir_until_ms) {
        r->fresh = false;
        r->state = REQ_WAIT_DIRECTORY;
        directory_start(c);
    } else if (r->target != CONN_DIRECTORY && r->proof == CONN_BY_ACCOUNT &&
               c->account_url[0] == 0) {
        r->state = REQ_WAIT_ACCOUNT;
        registration_start(c);
    } else {
        req_step_on(r);
    }
}

/* --- life ------------------------------------------------------------------------------------ */

static enum err copy_text(char **out, const char *text)
{
    if (text == NULL)
        return ERR_OK;
    *out = strdup(text);
    return *out != NULL ? ERR_OK : ERR_NOMEM;
}

static enum err set_eab(struct conn *c, const struct acme_options *o, struct err_info *info)
{
    if (o->eab_kid == NULL)
        return ERR_OK;
    struct span hmac = span_str(o->eab_hmac != NULL ? o->eab_hmac : "");
    while (hmac.len > 0 && hmac.p[hmac.len - 1] == '=')
        hmac.len--; /* some CAs print the padding */
    if (b64url_decode(hmac, c->eab_key, sizeof c->eab_key, &c->eab_key_len) != ERR_OK ||
        c->eab_key_len == 0)
        return err_set(info, ERR_CONFIG, "the HMAC key of the account binding is not base64url");
    return copy_text(&c->eab_kid, o->eab_kid);
}

static enum err set_options(struct conn *c, const struct acme_options *o, struct err_info *info)
{
    if (!message_url_ok(o->directory_url))
        return err_set(info, ERR_CONFIG, "the directory must be an https URL, not %s",
                       o->directory_url);
    enum err e = copy_text(&c->directory_url, o->directory_url);
    if (e == ERR_OK)
        e = copy_text(&c->key_path, o->account_key);
    if (e == ERR_OK && o->contact != NULL)
        e = copy_text(&c->contact,
                      strncmp(o->contact, "mailto:", 7) == 0 ? o->contact + 7 : o->contact);
    return e == ERR_OK ? set_eab(c, o, info) : e;
}

enum err conn_new(struct conn **out, struct loop *l, const struct acme_options *o,
                  struct err_info *info)
{
    struct conn *c = calloc(1, sizeof *c);
    struct fetch_options fo = { .user_agent = o->user_agent, .ca_file = o->ca_file };
    if (c == NULL)
        return ERR_NOMEM;
    c->loop = l;
    c->name = o->name;
    c->agree_terms = o->agree_terms;
    enum err e = set_options(c, o, info);
    if (e == ERR_OK)
        e = signer_open(&c->signer, c->key_path, info);
    if (e == ERR_OK)
        registration_load(c);
    if (e == ERR_OK)
        e = fetch_new(&c->fetch, l, &fo, info);
    if (e != ERR_OK) {
        conn_free(c);
        return e;
    }
    *out = c;
    return ERR_OK;
}

void conn_free(struct conn *c)
{
    if (c == NULL)
        return;
    if (c->fetch != NULL)
        fetch_free(c->fetch);
    while (c->reqs != NULL) {
        struct req *r = c->reqs;
        req_unlink(r);
        req_free(r);
    }
    signer_free(c->signer);
    explicit_bzero(c->eab_key, sizeof c->eab_key);
    free(c->directory_url);
    free(c->contact);
    free(c->key_path);
    free(c->eab_kid);
    free(c);
}

struct signer *conn_signer(const struct conn *c)
{
    return c->signer;
}

const struct message_directory *conn_directory(const struct conn *c)
{
    return c->dir_known ? &c->dir : NULL;
}

const char *conn_contact(const struct conn *c)
{
    return c->contact;
}

bool conn_clock(const struct conn *c, int64_t *ahead_s)
{
    if (c->date_s == 0)
        return false;
    *ahead_s = c->date_seen_s - c->date_s;
    return true;
}

const char *conn_agreed_terms(const struct conn *c)
{
    return c->agreed_terms;
}

const char *conn_account(const struct conn *c)
{
    return c->account_url;
}
