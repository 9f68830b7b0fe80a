/* registration.c - how a conn comes to its account: the one that the CA has for the key, or else a
 * new one. [RFC 8555 s7.3] */
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "provisiond/acme/account.h"
#include "provisiond/acme/connstate.h"

#define REFUSED_MS 60000 /* a refused registration is not repeated before */

static void look_up(struct conn *c, enum conn_proof proof, conn_build_fn *build,
                    void (*own)(struct conn *c, const struct conn_reply *reply));

static struct account_id account_id(const struct conn *c)
{
    return (struct account_id){ c->key_path, c->directory_url, signer_thumbprint(c->signer) };
}

void conn_set_account(struct conn *c, const char *url)
{
    struct account_id id = account_id(c);
    struct err_info info = { "" };
    (void)snprintf(c->account_url, sizeof c->account_url, "%s", url);
    if (url[0] != 0 && account_save(&id, url, &info) != ERR_OK)
        log_warn("issuer %s: cannot keep the account's URL: %s", c->name, info.text);
}

void registration_load(struct conn *c)
{
    struct account_id id = account_id(c);
    /* after a key change that was cut off only the CA knows which key counts */
    if (signer_has_next(c->signer) || account_load(&id, c->account_url) != ERR_OK)
        c->account_url[0] = 0;
    if (account_load_terms(&id, c->agreed_terms) != ERR_OK)
        c->agreed_terms[0] = 0;
}

void conn_note_agreement(struct conn *c)
{
    struct account_id id = account_id(c);
    struct err_info info = { "" };
    if (c->dir.terms[0] == 0)
        return;
    (void)snprintf(c->agreed_terms, sizeof c->agreed_terms, "%s", c->dir.terms);
    if (account_save_terms(&id, c->agreed_terms, &info) != ERR_OK)
        log_warn("issuer %s: %s", c->name, info.text);
}

void registration_forget(struct conn *c, const char *kid)
{
    if (strcmp(c->account_url, kid) != 0)
        return; /* another request was first, and has registered already */
    log_warn("issuer %s: the CA has forgotten the account %s", c->name, kid);
    c->account_url[0] = 0;
}

static void refused(struct conn *c, const struct issuer_reply *reply)
{
    int64_t hold_ms = reply->retry_after_s * 1000;
    c->account_busy = false;
    c->refusal = *reply;
    if (reply->verdict != ISSUER_RETRY)
        c->refused_until_ms = clock_mono_ms() + (hold_ms > REFUSED_MS ? hold_ms : REFUSED_MS);
    log_warn("issuer %s: no account: %s", c->name, reply->info.text);
    conn_wake(c, REQ_WAIT_ACCOUNT, reply);
}

static void refuse_by_configuration(struct conn *c, const char *sentence)
{
    struct issuer_reply reply = { .verdict = ISSUER_HUMAN };
    (void)err_set(&reply.info, ERR_CONFIG, "%s", sentence);
    refused(c, &reply);
}

/* A 2xx: the account is there, open, and its URL known. */
static bool accept(struct conn *c, const struct conn_reply *reply)
{
    struct message_account account = { ISSUER_VALID };
    struct issuer_reply failure = reply->reply;
    /* a CA that answers 2xx with the URL but no readable object still has the account */
    if (message_parse_account(reply->body, &account, NULL) == ERR_OK &&
        account.status == ISSUER_INVALID) {
        failure.verdict = ISSUER_HUMAN;
        (void)err_set(&failure.info, ERR_REMOTE,
                      "the CA has closed this account: another account_key makes a new one");
    } else if (reply->location[0] == 0) {
        failure.verdict = ISSUER_RETRY;
        (void)err_set(&failure.info, ERR_REMOTE, "the CA did not say the account's URL");
    } else {
        c->account_busy = false;
        conn_set_account(c, reply->location);
        return true;
    }
    refused(c, &failure);
    return false;
}

/* --- a new account --- */

static void on_registered(struct conn *c, const struct conn_reply *reply)
{
    if (reply->reply.verdict != ISSUER_OK) {
        refused(c, &reply->reply);
    } else if (accept(c, reply)) {
        log_info("issuer %s: account %s%s%s", c->name, c->account_url,
                 c->dir.terms[0] != 0 ? ", agreed to " : "", c->dir.terms);
        conn_note_agreement(c);
        conn_wake(c, REQ_WAIT_ACCOUNT, NULL);
    }
}

static enum err build_registration(struct conn *c, const void *op, struct buf *out)
{
    struct buf eab;
    enum err e = ERR_OK;
    (void)op;
    buf_init(&eab, MESSAGE_MAX);
    if (c->eab_kid != NULL)
        e = signer_bind(c->signer, c->dir.new_account, c->eab_kid,
                        (struct span){ c->eab_key, c->eab_key_len }, &eab);
    if (e == ERR_OK)
        e = message_new_account(out, c->contact, buf_span(&eab));
    buf_clear(&eab);
    return e;
}

static void register_new(struct conn *c)
{
    struct issuer_reply reply = { .verdict = ISSUER_HUMAN };
    if (c->dir.eab_required && c->eab_kid == NULL) {
        refuse_by_configuration(
            c, "the CA wants an external account binding: set eab_kid and the HMAC key");
    } else if (!c->agree_terms) {
        (void)err_set(&reply.info, ERR_CONFIG,
                      "set agree_terms = true to agree to the CA's terms %s", c->dir.terms);
        refused(c, &reply);
    } else {
        look_up(c, CONN_BY_JWK, build_registration, on_registered);
    }
}

/* --- the account that the CA has already --- */

static enum err build_lookup(struct conn *c, const void *op, struct buf *out)
{
    (void)c;
    (void)op;
    buf_add_str(out, "{\"onlyReturnExisting\":true}");
    return buf_error(out);
}

static bool is_unknown(const struct conn_reply *reply)
{
    return reply->problem != NULL && strcmp(reply->problem->type, "accountDoesNotExist") == 0;
}

/* The present key has no account; the next one is it, if a change was cut off after the CA did it.
 */
static void on_next_looked_up(struct conn *c, const struct conn_reply *reply)
{
    struct err_info info = { "" };
    if (is_unknown(reply)) {
        signer_discard_next(c->signer);
        register_new(c);
    } else if (reply->reply.verdict != ISSUER_OK) {
        refused(c, &reply->reply);
    } else if (signer_promote_next(c->signer, &info) != ERR_OK) {
        refuse_by_configuration(c, info.text);
    } else if (accept(c, reply)) {
        log_info("issuer %s: the key change of account %s had been done", c->name, c->account_url);
        conn_wake(c, REQ_WAIT_ACCOUNT, NULL);
    }
}

static void on_looked_up(struct conn *c, const struct conn_reply *reply)
{
    if (is_unknown(reply) && signer_has_next(c->signer)) {
        look_up(c, CONN_BY_NEXT_JWK, build_lookup, on_next_looked_up);
    } else if (is_unknown(reply)) {
        register_new(c);
    } else if (reply->reply.verdict != ISSUER_OK) {
        refused(c, &reply->reply);
    } else if (accept(c, reply)) {
        if (signer_has_next(c->signer))
            log_info("issuer %s: the key change of account %s had not been done", c->name,
                     c->account_url);
        signer_discard_next(c->signer);
        conn_wake(c, REQ_WAIT_ACCOUNT, NULL);
    }
}

static void look_up(struct conn *c, enum conn_proof proof, conn_build_fn *build,
                    void (*own)(struct conn *c, const struct conn_reply *reply))
{
    struct issuer_reply reply = { .verdict = ISSUER_RETRY };
    struct conn_request q = {
        .target = CONN_NEW_ACCOUNT, .proof = proof, .context = ERRORS_NEW_ACCOUNT, .build = build
    };
    c->account_busy = true;
    enum err e = conn_post_own(c, &q, own);
    if (e != ERR_OK) {
        (void)err_set(&reply.info, e, "cannot register with the CA: %s", err_name(e));
        refused(c, &reply);
    }
}

void registration_start(struct conn *c)
{
    if (c->account_busy)
        return;
    if (clock_mono_ms() < c->refused_until_ms) {
        conn_wake(c, REQ_WAIT_ACCOUNT, &c->refusal);
        return;
    }
    if (signer_refresh(c->signer))
        log_info("issuer %s: the account key has changed", c->name);
    look_up(c, CONN_BY_JWK, build_lookup, on_looked_up);
}
