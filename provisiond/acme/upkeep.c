/* upkeep.c - an acme issuer's work beside orders: renewal information, revocation, the account. */
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "provisiond/acme/acmeop.h"
#include "provisiond/acme/persist.h"

/* [RFC 9773 s4.3.2, s4.3.3] */
#define WINDOW_POLL_MIN_S 60
#define WINDOW_POLL_MAX_S 86400
#define WINDOW_LASTING_S ((int64_t)6 * 3600) /* after a lasting error */

/* --- renewal information --- */

/* The CA's Retry-After, within what the RFC allows; what is missing or absurd is a lasting error.
 */
static int64_t next_poll(int64_t retry_after_s)
{
    if (retry_after_s <= 0)
        return WINDOW_LASTING_S;
    return retry_after_s < WINDOW_POLL_MIN_S   ? WINDOW_POLL_MIN_S
           : retry_after_s > WINDOW_POLL_MAX_S ? WINDOW_POLL_MAX_S
                                               : retry_after_s;
}

static void on_window(void *arg, const struct conn_reply *reply)
{
    const struct op *op = arg;
    struct issuer_window window = { .reply = reply->reply };
    struct message_window m;
    struct issuer_reply *r = &window.reply;
    if (r->verdict == ISSUER_OK && message_parse_window(reply->body, &m, &r->info) == ERR_OK) {
        window.start_at = m.start_at;
        window.end_at = m.end_at;
        memcpy(window.explanation, m.explanation, sizeof window.explanation);
    } else if (r->verdict == ISSUER_OK) {
        r->verdict = ISSUER_HOLD;
        r->retry_after_s = 0;
    } else if (r->verdict == ISSUER_RETRY && reply->response != NULL &&
               (reply->response->e == ERR_CRYPTO || reply->response->e == ERR_UNAVAILABLE ||
                reply->response->e == ERR_REMOTE)) {
        r->verdict = ISSUER_HOLD; /* no name, no connection, no TLS: not a timeout, not a 5xx */
    }
    if (r->verdict != ISSUER_RETRY)
        r->retry_after_s = next_poll(r->retry_after_s);
    op->fn.window(op->arg, &window);
}

void upkeep_renewal_info(struct issuer *is, const char *cert_id, issuer_window_fn *fn, void *arg)
{
    struct op op = { .acme = (struct acme *)is, .fn.window = fn, .arg = arg };
    struct conn_request q = { .target = CONN_RENEWAL_INFO,
                              .proof = CONN_UNSIGNED,
                              .url = cert_id,
                              .context = ERRORS_RENEWAL,
                              .fn = on_window };
    op_post(&op, sizeof op, &q);
}

/* --- revocation --- */

static void on_done(void *arg, const struct conn_reply *reply)
{
    const struct op *op = arg;
    op->fn.done(op->arg, &reply->reply);
}

static EVP_PKEY *read_key(struct span pem)
{
    char none[] = ""; /* an encrypted key fails instead of asking on the terminal */
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.len);
    EVP_PKEY *key = bio == NULL ? NULL : PEM_read_bio_PrivateKey(bio, NULL, NULL, none);
    BIO_free_all(bio);
    ERR_clear_error();
    return key;
}

void upkeep_revoke(struct issuer *is, const struct issuer_revocation *what, issuer_done_fn *fn,
                   void *arg)
{
    struct op op = { .acme = (struct acme *)is, .fn.done = fn, .arg = arg };
    struct conn_request q = { .target = CONN_REVOKE_CERT, .context = ERRORS_REVOKE, .fn = on_done };
    struct buf payload;
    buf_init(&payload, MESSAGE_MAX);
    if (what->key_pem.len > 0) {
        /* a key that cannot be read gives a signature that cannot be made, and so an error */
        q.proof = CONN_BY_CERT_KEY;
        q.cert_key = read_key(what->key_pem);
    }
    if (message_revoke(&payload, what->cert_der, what->reason) != ERR_OK)
        buf_clear(&payload); /* only memory can be short: sent empty, the CA refuses it */
    op_post_payload(&op, sizeof op, &q, &payload);
    EVP_PKEY_free(q.cert_key);
}

/* --- the account --- */

struct account_op {
    struct op op; /* first */
    enum issuer_account_act act;
};

/* The CA has agreed to the new key, has refused it, or nobody knows. */
static void end_rollover(struct conn *c, struct issuer_reply *r)
{
    char url[ISSUER_URL_MAX];
    (void)snprintf(url, sizeof url, "%s", conn_account(c));
    if (r->verdict == ISSUER_OK) {
        enum err e = signer_promote_next(conn_signer(c), &r->info);
        if (e == ERR_OK)
            conn_set_account(c, url);
        else
            r->verdict = ISSUER_HUMAN;
    } else if (r->verdict == ISSUER_RETRY) {
        conn_set_account(c, ""); /* the next request asks which key counts */
    } else {
        signer_discard_next(conn_signer(c));
    }
}

static void on_account(void *arg, const struct conn_reply *reply)
{
    const struct account_op *op = arg;
    struct conn *c = op->op.acme->conn;
    struct issuer_account account = { .reply = reply->reply, .status = ISSUER_OTHER };
    struct message_account m = { ISSUER_VALID };
    if (op->act == ISSUER_ACCOUNT_ROLLOVER)
        end_rollover(c, &account.reply);
    if (account.reply.verdict == ISSUER_OK) {
        account.status = ISSUER_VALID;
        if (op->act == ISSUER_ACCOUNT_UPDATE)
            conn_note_agreement(c);
        if (message_parse_account(reply->body, &m, NULL) == ERR_OK)
            account.status = m.status;
        if (op->act == ISSUER_ACCOUNT_SHOW && reply->location[0] != 0)
            (void)snprintf(account.url, sizeof account.url, "%s", reply->location);
        else
            (void)snprintf(account.url, sizeof account.url, "%s", conn_account(c));
    } else if (op->act == ISSUER_ACCOUNT_SHOW && reply->problem != NULL &&
               strcmp(reply->problem->type, "accountDoesNotExist") == 0) {
        account.reply.verdict = ISSUER_HUMAN;
        (void)err_set(&account.reply.info, ERR_NOTFOUND,
                      "the CA has no account for this key yet: the first order makes one");
    }
    const char *thumbprint = signer_thumbprint(conn_signer(c));
    (void)snprintf(account.thumbprint, sizeof account.thumbprint, "%s", thumbprint);
    if (account.url[0] != 0 && persist_uri(account.persist_uri, conn_directory(c)->hash_prefix,
                                           thumbprint, account.url) != ERR_OK)
        account.persist_uri[0] = 0;
    op->op.fn.account(op->op.arg, &account);
}

static enum err build_show(struct conn *c, const void *op, struct buf *out)
{
    (void)c;
    (void)op;
    buf_add_str(out, "{\"onlyReturnExisting\":true}");
    return buf_error(out);
}

static enum err build_update(struct conn *c, const void *op, struct buf *out)
{
    (void)op;
    return message_new_account(out, conn_contact(c), (struct span){ NULL, 0 });
}

static enum err build_deactivate(struct conn *c, const void *op, struct buf *out)
{
    (void)c;
    (void)op;
    buf_add_str(out, "{\"status\":\"deactivated\"}");
    return buf_error(out);
}

/* The inner request, signed by the new key. [RFC 8555 s7.3.5] */
static enum err build_rollover(struct conn *c, const void *op, struct buf *out)
{
    struct jws_header head = { .url = conn_directory(c)->key_change };
    struct err_info info = { "" };
    struct buf jwk, inner;
    (void)op;
    buf_init(&jwk, MESSAGE_MAX);
    buf_init(&inner, MESSAGE_MAX);
    enum err e = signer_make_next(conn_signer(c), &info);
    if (e != ERR_OK)
        log_error("%s", info.text);
    if (e == ERR_OK)
        e = signer_jwk(conn_signer(c), &jwk);
    if (e == ERR_OK)
        e = message_key_change(&inner, conn_account(c), buf_span(&jwk));
    if (e == ERR_OK)
        e = signer_sign(conn_signer(c), SIGNER_NEXT, &head, buf_span(&inner), out);
    buf_clear(&jwk);
    buf_clear(&inner);
    return e;
}

void upkeep_account(struct issuer *is, enum issuer_account_act act, issuer_account_fn *fn,
                    void *arg)
{
    static const struct {
        enum conn_target target;
        enum conn_proof proof;
        conn_build_fn *build;
    } ACTS[] = {
        [ISSUER_ACCOUNT_SHOW] = { CONN_NEW_ACCOUNT, CONN_BY_JWK, build_show },
        [ISSUER_ACCOUNT_UPDATE] = { CONN_ACCOUNT, CONN_BY_ACCOUNT, build_update },
        [ISSUER_ACCOUNT_ROLLOVER] = { CONN_KEY_CHANGE, CONN_BY_ACCOUNT, build_rollover },
        [ISSUER_ACCOUNT_DEACTIVATE] = { CONN_ACCOUNT, CONN_BY_ACCOUNT, build_deactivate },
    };
    struct account_op op = { { (struct acme *)is, .fn.account = fn, .arg = arg }, act };
    struct conn_request q = { .target = ACTS[act].target,
                              .proof = ACTS[act].proof,
                              .build = ACTS[act].build,
                              .context = ERRORS_NEW_ACCOUNT,
                              .fn = on_account };
    op_post(&op.op, sizeof op, &q);
}

/* --- the directory --- */

void upkeep_probe(struct issuer *is, issuer_done_fn *fn, void *arg)
{
    struct op op = { .acme = (struct acme *)is, .fn.done = fn, .arg = arg };
    struct conn_request q = {
        .target = CONN_DIRECTORY, .proof = CONN_UNSIGNED, .context = ERRORS_DIRECTORY, .fn = on_done
    };
    op_post(&op, sizeof op, &q);
}

void upkeep_facts(const struct issuer *is, struct issuer_facts *out)
{
    const struct conn *c = ((const struct acme *)is)->conn;
    const struct message_directory *dir = conn_directory(c);
    *out = (struct issuer_facts){ .account = conn_account(c), .known = dir != NULL, .terms = "" };
    out->agreed_terms = conn_agreed_terms(c);
    out->has_clock = conn_clock(c, &out->clock_ahead_s);
    if (dir == NULL)
        return;
    out->has_renewal_info = dir->renewal_info[0] != 0;
    out->has_revocation = dir->revoke_cert[0] != 0;
    out->has_rollover = dir->key_change[0] != 0;
    out->terms = dir->terms;
    out->n_profiles = dir->n_profiles;
    for (size_t i = 0; i < dir->n_profiles; i++)
        out->profiles[i] = dir->profiles[i];
    out->n_caa = dir->n_caa;
    for (size_t i = 0; i < dir->n_caa; i++)
        out->caa[i] = dir->caa[i];
    out->n_persist = dir->persist.n;
    for (size_t i = 0; i < dir->persist.n; i++)
        out->persist[i] = dir->persist.at[i];
}
