#include "provisiond/acme/conn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/b64url.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/net/fetch.h"
#include "common/pki/key.h"
#include "provisiond/acme/account.h"
#include "provisiond/acme/jws.h"
#include "provisiond/acme/message.h"
#include "provisiond/acme/nonce.h"

#define TRIES_MAX 5 /* of one request that the CA refuses for its nonce */
#define PAUSE_MS                                                                                   \
    50 /* before the second try, twice that before the third, ...; plus up to as much */
#define TIMEOUT_MS 60000 /* of one exchange: some CAs validate and issue while we wait */
#define DIRECTORY_LIFE_MS 3600000
#define RETRY_AFTER_MAX_S ((int64_t)7 * 86400)
#define REFUSED_MS 60000 /* a refused registration is not repeated before */
#define EAB_KEY_MAX 256  /* bytes */
#define REQUEST_MAX (96 * 1024)

enum req_state {
    REQ_START,          /* to be looked at when the timer fires */
    REQ_WAIT_DIRECTORY, /* until the directory is there, or failed */
    REQ_WAIT_ACCOUNT,   /* until the registration is done, or failed */
    REQ_EXCHANGE,       /* a nonce or the request itself is under way */
    REQ_FAILED,         /* `reply` is to be delivered when the timer fires */
};

struct req {
    struct req *next, **prev;
    struct conn *c;
    enum req_state state;
    struct loop_timer *timer;
    enum errors_context context; /* ERRORS_NEW_ACCOUNT: conn's own registration */
    const char *accept;
    conn_fn *fn;
    void *op;
    unsigned tries;
    bool reregistered;
    struct issuer_reply reply;
    char url[ISSUER_URL_MAX]; /* "": newOrder */
    char kid[ISSUER_URL_MAX]; /* the account it was signed for last */
    struct buf payload;
};

struct conn {
    struct loop *loop;
    struct fetch *fetch;
    EVP_PKEY *key;
    char thumbprint[JWS_THUMBPRINT_LEN + 1];
    const char *name; /* for the log */
    char *directory_url, *contact, *key_path, *eab_kid;
    uint8_t eab_key[EAB_KEY_MAX];
    size_t eab_key_len;

    struct message_directory dir;
    int64_t dir_until_ms; /* monotonic; 0: fetch it again */
    bool dir_busy;

    char account_url[ISSUER_URL_MAX]; /* "" until registered */
    bool account_busy;
    struct issuer_reply refusal; /* of the last registration */
    int64_t refused_until_ms;

    struct nonce_pool nonces;
    struct req *reqs;
};

static void req_step(struct req *r);
static void account_on_reply(struct conn *c, const struct conn_reply *reply);

/* --- requests ------------------------------------------------------------------------------- */

static void req_free(struct req *r)
{
    loop_timer_free(r->timer);
    buf_clear(&r->payload);
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
    if (r->context == ERRORS_NEW_ACCOUNT)
        account_on_reply(r->c, reply);
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

/* The requests that wait in `state` go on, or end with `failure` where there is one. Each by its
 * own timer: none of their callbacks runs in here. */
static void wake(struct conn *c, enum req_state state, const struct issuer_reply *failure)
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
    r->context = q->context;
    r->accept = q->accept;
    r->fn = q->fn;
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
    c->dir_busy = false;
    if (!is_success(res)) {
        describe_failure(c, res, ERRORS_DIRECTORY, &problem, &reply);
    } else if (message_parse_directory(res->body, &c->dir, &reply.info) == ERR_OK) {
        c->dir_until_ms = clock_mono_ms() + DIRECTORY_LIFE_MS;
        wake(c, REQ_WAIT_DIRECTORY, NULL);
        return;
    }
    (void)err_prefix(&reply.info, ERR_REMOTE, "%s: ", c->directory_url);
    wake(c, REQ_WAIT_DIRECTORY, &reply);
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
        wake(c, REQ_WAIT_DIRECTORY, &reply);
        return;
    }
    c->dir_busy = true;
}

/* --- account --------------------------------------------------------------------------------- */

static struct account_id account_id(const struct conn *c)
{
    return (struct account_id){ c->key_path, c->directory_url, c->thumbprint };
}

static void account_refused(struct conn *c, const struct issuer_reply *reply)
{
    int64_t hold_ms = reply->retry_after_s * 1000;
    c->refusal = *reply;
    if (reply->verdict != ISSUER_RETRY)
        c->refused_until_ms = clock_mono_ms() + (hold_ms > REFUSED_MS ? hold_ms : REFUSED_MS);
    log_warn("issuer %s: no account: %s", c->name, reply->info.text);
    wake(c, REQ_WAIT_ACCOUNT, reply);
}

static void account_on_reply(struct conn *c, const struct conn_reply *reply)
{
    struct issuer_reply failure = reply->reply;
    enum issuer_status status = ISSUER_VALID;
    c->account_busy = false;
    if (failure.verdict == ISSUER_OK) {
        /* a CA that answers 2xx with the URL but no readable object has still registered us */
        if (message_parse_account(reply->body, &status, NULL) == ERR_OK &&
            status == ISSUER_INVALID) {
            failure.verdict = ISSUER_HUMAN;
            (void)err_set(&failure.info, ERR_REMOTE, "the CA has closed this account");
        } else if (reply->location[0] == 0) {
            failure.verdict = ISSUER_RETRY;
            (void)err_set(&failure.info, ERR_REMOTE, "the CA did not say the account's URL");
        }
    }
    if (failure.verdict != ISSUER_OK) {
        account_refused(c, &failure);
        return;
    }
    struct account_id id = account_id(c);
    struct err_info info = { "" };
    (void)snprintf(c->account_url, sizeof c->account_url, "%s", reply->location);
    if (account_save(&id, c->account_url, &info) != ERR_OK)
        log_warn("issuer %s: cannot keep the account's URL: %s", c->name, info.text);
    log_info("issuer %s: account %s%s%s", c->name, c->account_url,
             c->dir.terms[0] != 0 ? ", agreed to " : "", c->dir.terms);
    wake(c, REQ_WAIT_ACCOUNT, NULL);
}

static enum err account_payload(const struct conn *c, struct buf *out)
{
    struct buf eab;
    enum err e = ERR_OK;
    buf_init(&eab, REQUEST_MAX);
    if (c->eab_kid != NULL)
        e = jws_bind(&eab, c->key, c->dir.new_account, c->eab_kid,
                     (struct span){ c->eab_key, c->eab_key_len });
    if (e == ERR_OK)
        e = message_new_account(out, c->contact, buf_span(&eab));
    buf_clear(&eab);
    return e;
}

/* Registers, unless that is under way or was refused a moment ago. The directory is there. */
static void account_start(struct conn *c)
{
    struct issuer_reply reply = { .verdict = ISSUER_RETRY };
    struct buf payload;
    if (c->account_busy)
        return;
    if (clock_mono_ms() < c->refused_until_ms) {
        wake(c, REQ_WAIT_ACCOUNT, &c->refusal);
        return;
    }
    if (c->dir.eab_required && c->eab_kid == NULL) {
        reply.verdict = ISSUER_HUMAN;
        (void)err_set(&reply.info, ERR_CONFIG,
                      "the CA wants an external account binding: set eab_kid and the HMAC key");
        account_refused(c, &reply);
        return;
    }
    buf_init(&payload, MESSAGE_MAX);
    enum err e = account_payload(c, &payload);
    struct conn_request q = { .url = c->dir.new_account,
                              .context = ERRORS_NEW_ACCOUNT,
                              .payload = buf_span(&payload) };
    if (e == ERR_OK && req_new(c, &q) == NULL)
        e = ERR_NOMEM;
    buf_clear(&payload);
    if (e == ERR_OK) {
        c->account_busy = true;
        return;
    }
    (void)err_set(&reply.info, e, "cannot register with the CA: %s", err_name(e));
    wake(c, REQ_WAIT_ACCOUNT, &reply);
}

/* The CA does not know `kid` any more; another request may have registered again already. */
static void account_forget(struct conn *c, const char *kid)
{
    if (strcmp(c->account_url, kid) != 0)
        return;
    log_warn("issuer %s: the CA has forgotten the account %s", c->name, kid);
    c->account_url[0] = 0;
}

/* --- the steps of a request ------------------------------------------------------------------ */

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
    if (strcmp(problem->type, "accountDoesNotExist") == 0 && r->context != ERRORS_NEW_ACCOUNT &&
        !r->reregistered) {
        account_forget(r->c, r->kid);
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
    struct conn_reply reply = { .location = "" };
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
    if (!req_again(r, &problem))
        req_finish(r, &reply);
}

static enum err req_send(struct req *r, const char *nonce)
{
    struct conn *c = r->c;
    char accept[96];
    const char *headers[3] = { "Content-Type: application/jose+json", NULL, NULL };
    struct jws_header head = { .url = r->url[0] != 0 ? r->url : c->dir.new_order, .nonce = nonce };
    struct buf body;
    if (r->accept != NULL) {
        (void)snprintf(accept, sizeof accept, "Accept: %s", r->accept);
        headers[1] = accept;
    }
    if (r->context != ERRORS_NEW_ACCOUNT) {
        memcpy(r->kid, c->account_url, sizeof r->kid);
        head.kid = r->kid;
    }
    buf_init(&body, REQUEST_MAX);
    enum err e = jws_sign(&body, c->key, &head, buf_span(&r->payload));
    if (e == ERR_OK) {
        struct fetch_request q = { .method = "POST",
                                   .url = head.url,
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
    r->state = REQ_EXCHANGE;
    r->tries++;
    enum err e = req_send(r, nonce);
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

static void req_fetch_nonce(struct req *r)
{
    struct err_info none = { "" };
    struct fetch_request q = { .method = "HEAD",
                               .url = r->c->dir.new_nonce,
                               .body_max = MESSAGE_MAX,
                               .timeout_ms = TIMEOUT_MS };
    r->state = REQ_EXCHANGE;
    enum err e = fetch_start(r->c->fetch, &q, req_on_nonce, r, NULL);
    if (e != ERR_OK)
        req_fail_err(r, e, &none);
}

/* Does what the request needs next. Called from its timer only. */
static void req_step(struct req *r)
{
    struct conn *c = r->c;
    int64_t now_ms = clock_mono_ms();
    char nonce[NONCE_TEXT_MAX];
    if (now_ms >= c->dir_until_ms) {
        r->state = REQ_WAIT_DIRECTORY;
        directory_start(c);
    } else if (r->context != ERRORS_NEW_ACCOUNT && c->account_url[0] == 0) {
        r->state = REQ_WAIT_ACCOUNT;
        account_start(c);
    } else if (nonce_take(&c->nonces, nonce, now_ms)) {
        req_sign_and_send(r, nonce);
    } else {
        req_fetch_nonce(r);
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

static enum err set_key(struct conn *c, struct err_info *info)
{
    enum err e = key_load_or_make(&c->key, c->key_path, KEY_P256, info);
    if (e != ERR_OK)
        return e;
    e = jws_thumbprint(c->thumbprint, c->key);
    if (e != ERR_OK)
        return err_set(info, e, "%s must be an EC P-256 key", c->key_path);
    struct account_id id = account_id(c);
    if (account_load(&id, c->account_url) != ERR_OK)
        c->account_url[0] = 0; /* the first request will register */
    return ERR_OK;
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
    enum err e = set_options(c, o, info);
    if (e == ERR_OK)
        e = set_key(c, info);
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
    EVP_PKEY_free(c->key);
    explicit_bzero(c->eab_key, sizeof c->eab_key);
    free(c->directory_url);
    free(c->contact);
    free(c->key_path);
    free(c->eab_kid);
    free(c);
}

const char *conn_thumbprint(const struct conn *c)
{
    return c->thumbprint;
}
