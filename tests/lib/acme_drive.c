/* acme_drive.c - one whole issuance through struct issuer and the checks of provisiond/core, for
 * tests/integration/test_acme.py.
 *
 *     acme_drive directory=URL ca=FILE key=FILE id=ID zone=ZONE [txt=PATH] [kid=KID hmac=KEY]
 *                [contact=ADDRESS] [apex] [once] [local=DIR] [stop=STEP]
 *                [profile=NAME] [replaces=ID] [not_after=SECONDS] [prefer=ISSUER]
 *                [challenge=TYPE] [no_terms] [do=CALL ...]
 *
 * With do= it makes one other call instead: do=window cert=ID, do=revoke der=FILE [reason=N]
 * [cert_key=FILE], do=show, do=update, do=rollover, do=deactivate, do=probe.
 * Prints a line for each reply, "order verdict=0 status=0 type= retry_after=0 info=...", and ends
 * with the chain. Asks the challenge setter at txt= (the management port of pebble-challtestsrv)
 * to publish; without it nothing is published. A verdict of RETRY or RESUME repeats the step after
 * a short pause; any other, and with `once` these too, ends the program with status 3. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/x509v3.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/net/loop.h"
#include "common/pki/key.h"
#include "provisiond/acme/acme.h"
#include "provisiond/core/chain.h"
#include "provisiond/core/csr.h"
#include "provisiond/local/local.h"

#define PAUSE_MS 50
#define POLL_MS 50
#define DEADLINE_MS 100000 /* only bounds a hang */

enum step { STEP_ORDER, STEP_AUTHZ, STEP_START, STEP_POLL, STEP_FINALIZE, STEP_WAIT, STEP_CHAIN };

struct drive {
    struct loop *loop;
    struct loop_timer *timer, *deadline;
    struct issuer *is;
    enum step step;
    const char *txt, *stop;
    const char *names[2];
    size_t n_names, at;
    char wildcard[302], apex[300];
    struct csr_facts csr;
    struct issuer_order order;
    struct issuer_authz authz;
    struct issuer_params params;
    char **argv;
    bool once;
    int status;
};

static const char *arg_get(char **argv, const char *key)
{
    size_t len = strlen(key);
    for (; *argv != NULL; argv++)
        if (strncmp(*argv, key, len) == 0 && (*argv)[len] == '=')
            return *argv + len + 1;
    return NULL;
}

static bool arg_has(char **argv, const char *word)
{
    for (; *argv != NULL; argv++)
        if (strcmp(*argv, word) == 0)
            return true;
    return false;
}

static void end(struct drive *d, int status)
{
    d->status = status;
    loop_stop(d->loop);
}

static void say(const char *what, const struct issuer_reply *r, int status)
{
    printf("%s verdict=%d status=%d type=%s retry_after=%lld info=%s\n", what, (int)r->verdict,
           status, r->type, (long long)r->retry_after_s, r->info.text);
    (void)fflush(stdout);
}

static void go(struct drive *d, enum step step, int64_t delay_ms)
{
    d->step = step;
    loop_timer_set(d->timer, delay_ms);
}

/* Whether the reply lets us go on; otherwise the step is repeated, or the program ends. */
static bool judge(struct drive *d, const struct issuer_reply *r)
{
    if (r->verdict == ISSUER_OK)
        return true;
    if (d->once)
        end(d, 3);
    else if (r->verdict == ISSUER_RETRY)
        go(d, d->step, PAUSE_MS);
    else if (r->verdict == ISSUER_RESUME)
        go(d, STEP_WAIT, PAUSE_MS);
    else
        end(d, 3);
    return false;
}

static void publish(const struct drive *d)
{
    char command[1024];
    if (d->txt == NULL)
        return;
    (void)snprintf(command, sizeof command,
                   "curl -sf -o /dev/null -d '{\"host\":\"_acme-challenge.%s.\",\"value\":\"%s\"}' "
                   "%s/set-txt",
                   d->apex, d->authz.txt_value, d->txt);
    if (system(command) != 0) /* the program is a test's: it may block */
        fprintf(stderr, "cannot publish\n");
}

static void follow(struct drive *d)
{
    switch (d->order.status) {
    case ISSUER_PENDING:
        go(d, d->at < d->order.n_authz ? STEP_AUTHZ : STEP_WAIT, 0);
        break;
    case ISSUER_READY:
        go(d, STEP_FINALIZE, 0);
        break;
    case ISSUER_VALID:
        go(d, STEP_CHAIN, 0);
        break;
    default:
        go(d, STEP_WAIT, POLL_MS);
    }
}

static void on_order(void *arg, const struct issuer_order *order)
{
    struct drive *d = arg;
    say("order", &order->reply, (int)order->status);
    if (!judge(d, &order->reply))
        return;
    d->order = *order;
    if (order->account[0] != 0)
        printf("account %s replaces_refused=%d profile_dropped=%d\n", order->account,
               order->replaces_refused, order->profile_dropped);
    if (d->stop != NULL && strcmp(d->stop, "order") == 0)
        end(d, 0);
    else
        follow(d);
}

static void on_authz(void *arg, const struct issuer_authz *authz)
{
    struct drive *d = arg;
    say("authz", &authz->reply, (int)authz->status);
    if (!judge(d, &authz->reply))
        return;
    d->authz = *authz;
    if (authz->status == ISSUER_VALID) {
        d->at++;
        go(d, d->at < d->order.n_authz ? STEP_AUTHZ : STEP_WAIT, 0);
    } else if (d->step == STEP_AUTHZ) {
        printf("txt %s %s\n", d->apex, authz->txt_value);
        publish(d);
        if (d->stop != NULL && strcmp(d->stop, "authz") == 0)
            end(d, 0);
        else
            go(d, STEP_START, 0);
    } else {
        go(d, STEP_POLL, POLL_MS);
    }
}

static void on_started(void *arg, const struct issuer_authz *authz)
{
    struct drive *d = arg;
    say("challenge", &authz->reply, (int)authz->challenge_status);
    if (judge(d, &authz->reply))
        go(d, STEP_POLL, POLL_MS);
}

static void on_chain(void *arg, const struct issuer_chain *chain)
{
    struct drive *d = arg;
    struct chain_facts facts;
    struct err_info info = { "" };
    struct chain_above above = { .certs = NULL };
    struct chain_expect expect = { .spki_sha256 = d->csr.spki_sha256,
                                   .names = d->names,
                                   .n_names = d->n_names,
                                   .now_s = clock_now_s(),
                                   .above = &above };
    say("chain", &chain->reply, 0);
    if (!judge(d, &chain->reply))
        return;
    enum err e = chain_check(chain->pem, &expect, &facts, &info);
    chain_above_clear(&above);
    printf("check %s %s\n", err_name(e), info.text);
    if (e == ERR_OK) {
        printf("serial %s ari %s certs %zu\n%s", facts.serial, facts.ari_id, facts.n_certs,
               buf_str(&facts.pem));
        buf_clear(&facts.pem);
    }
    end(d, e == ERR_OK ? 0 : 4);
}

static void on_timer(void *arg)
{
    struct drive *d = arg;
    const struct issuer_ops *ops = d->is->ops;
    switch (d->step) {
    case STEP_ORDER:
        ops->order_new(d->is, &d->params, on_order, d);
        break;
    case STEP_AUTHZ:
    case STEP_POLL:
        ops->authz_get(d->is, d->order.authz_url[d->at], on_authz, d);
        break;
    case STEP_START:
        ops->challenge_start(d->is, d->authz.challenge_url, on_started, d);
        break;
    case STEP_FINALIZE:
        ops->finalize(d->is, &d->order, buf_span(&d->csr.der), on_order, d);
        break;
    case STEP_WAIT:
        ops->order_get(d->is, d->order.url, on_order, d);
        break;
    case STEP_CHAIN:
        ops->download(d->is, d->order.certificate_url, on_chain, d);
        break;
    }
}

static void on_window(void *arg, const struct issuer_window *w)
{
    say("window", &w->reply, 0);
    printf("from %lld to %lld why %s\n", (long long)w->start_at, (long long)w->end_at,
           w->explanation);
    end(arg, w->reply.verdict == ISSUER_OK ? 0 : 3);
}

static void on_done(void *arg, const struct issuer_reply *r)
{
    struct drive *d = arg;
    struct issuer_facts f;
    say("done", r, 0);
    d->is->ops->facts(d->is, &f);
    printf("facts known=%d renewal_info=%d rollover=%d terms=%s profiles=%zu caa=%zu\n", f.known,
           f.has_renewal_info, f.has_rollover, f.terms, f.n_profiles, f.n_caa);
    end(d, r->verdict == ISSUER_OK ? 0 : 3);
}

static void on_account(void *arg, const struct issuer_account *a)
{
    say("account", &a->reply, (int)a->status);
    printf("url %s thumbprint %s\n", a->url, a->thumbprint);
    end(arg, a->reply.verdict == ISSUER_OK ? 0 : 3);
}

static void revoke_cert(struct drive *d)
{
    struct buf der, key;
    const char *key_path = arg_get(d->argv, "cert_key"), *reason = arg_get(d->argv, "reason");
    buf_init(&der, 65536);
    buf_init(&key, 65536);
    if (file_read(arg_get(d->argv, "der"), &der, NULL) != ERR_OK ||
        (key_path != NULL && file_read(key_path, &key, NULL) != ERR_OK))
        end(d, 2);
    struct issuer_revocation what = {
        .cert_der = buf_span(&der),
        .reason = (enum issuer_reason)(reason != NULL ? atoi(reason) : 0),
        .key_pem = buf_span(&key),
    };
    d->is->ops->revoke(d->is, &what, on_done, d);
    buf_clear(&der);
    buf_wipe(&key);
}

/* The one call that do= names. */
static void call(struct drive *d, const char *what)
{
    static const char *const ACTS[] = { "show", "update", "rollover", "deactivate" };
    const struct issuer_ops *ops = d->is->ops;
    if (strcmp(what, "window") == 0)
        ops->renewal_info(d->is, arg_get(d->argv, "cert"), on_window, d);
    else if (strcmp(what, "revoke") == 0)
        revoke_cert(d);
    else if (strcmp(what, "probe") == 0)
        ops->probe(d->is, on_done, d);
    for (size_t i = 0; i < ARRAY_LEN(ACTS); i++)
        if (strcmp(what, ACTS[i]) == 0)
            ops->account(d->is, (enum issuer_account_act)i, on_account, d);
}

static void on_deadline(void *arg)
{
    printf("deadline\n");
    end(arg, 5);
}

/* A request for d->names by a fresh key, checked as a device's would be. */
static enum err make_csr(struct drive *d, struct err_info *info)
{
    EVP_PKEY *key = NULL;
    char san[640];
    unsigned char *der = NULL;
    const char *problem;
    struct csr_policy policy = { .name_required = d->wildcard, .name_optional = d->apex };
    X509_REQ *req = X509_REQ_new();
    STACK_OF(X509_EXTENSION) *exts = sk_X509_EXTENSION_new_null();
    enum err e = key_new(&key, KEY_P256);
    if (e != ERR_OK)
        return e;
    (void)snprintf(san, sizeof san, "DNS:%s%s%s", d->wildcard, d->n_names > 1 ? ",DNS:" : "",
                   d->n_names > 1 ? d->apex : "");
    sk_X509_EXTENSION_push(exts, X509V3_EXT_nconf_nid(NULL, NULL, NID_subject_alt_name, san));
    X509_REQ_add_extensions(req, exts);
    X509_REQ_set_pubkey(req, key);
    X509_REQ_sign(req, key, EVP_sha256());
    int n = i2d_X509_REQ(req, &der);
    e = csr_check(&policy, (struct span){ der, (size_t)n }, &d->csr, &problem, info);
    OPENSSL_free(der);
    sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
    X509_REQ_free(req);
    EVP_PKEY_free(key);
    return e;
}

static enum err make_issuer(struct drive *d, char **argv, struct localca **ca,
                            struct err_info *info)
{
    const char *dir = arg_get(argv, "local");
    if (dir != NULL) {
        struct local_options lo = { .name = "local" };
        enum err e = localca_open(ca, dir, clock_now_s(), info);
        lo.ca = *ca;
        return e == ERR_OK ? local_issuer_new(&d->is, d->loop, &lo) : e;
    }
    struct acme_options o = { .name = "test",
                              .directory_url = arg_get(argv, "directory"),
                              .ca_file = arg_get(argv, "ca"),
                              .contact = arg_get(argv, "contact"),
                              .account_key = arg_get(argv, "key"),
                              .eab_kid = arg_get(argv, "kid"),
                              .eab_hmac = arg_get(argv, "hmac"),
                              .agree_terms = !arg_has(argv, "no_terms"),
                              .prefer_chain = arg_get(argv, "prefer"),
                              .challenge = arg_get(argv, "challenge"),
                              .user_agent = "lanyard-provisiond/test" };
    return acme_issuer_new(&d->is, d->loop, &o, info);
}

static void set_names(struct drive *d, char **argv)
{
    (void)snprintf(d->apex, sizeof d->apex, "%s.%s", arg_get(argv, "id"), arg_get(argv, "zone"));
    (void)snprintf(d->wildcard, sizeof d->wildcard, "*.%s", d->apex);
    d->names[0] = d->wildcard;
    d->names[1] = d->apex;
    d->n_names = 1;
    if (arg_has(argv, "apex"))
        d->n_names = 2;
    const char *not_after = arg_get(argv, "not_after");
    d->params = (struct issuer_params){ .names = d->names,
                                        .n_names = d->n_names,
                                        .profile = arg_get(argv, "profile"),
                                        .replaces = arg_get(argv, "replaces"),
                                        .not_after = not_after != NULL ? atoll(not_after) : 0 };
}

int main(int argc, char **argv)
{
    struct drive d = { .step = STEP_ORDER, .status = 2 };
    struct err_info info = { "" };
    struct localca *ca = NULL;
    (void)argc;
    d.argv = argv;
    log_init("acme_drive", LOG_LEVEL_INFO);
    d.txt = arg_get(argv, "txt");
    d.stop = arg_get(argv, "stop");
    d.once = arg_has(argv, "once");
    if (arg_get(argv, "id") != NULL)
        set_names(&d, argv);
    if (loop_new(&d.loop) != ERR_OK || loop_timer_new(&d.timer, d.loop, on_timer, &d) != ERR_OK ||
        loop_timer_new(&d.deadline, d.loop, on_deadline, &d) != ERR_OK)
        return 2;
    enum err e = d.names[0] == NULL ? ERR_OK : make_csr(&d, &info);
    if (e == ERR_OK)
        e = make_issuer(&d, argv, &ca, &info);
    if (e == ERR_OK) {
        if (arg_get(argv, "do") != NULL)
            call(&d, arg_get(argv, "do"));
        else
            loop_timer_set(d.timer, 0);
        loop_timer_set(d.deadline, DEADLINE_MS);
        loop_run(d.loop);
    } else {
        fprintf(stderr, "%s: %s\n", err_name(e), info.text);
    }
    if (d.is != NULL)
        d.is->ops->free(d.is);
    localca_free(ca);
    buf_clear(&d.csr.der);
    loop_timer_free(d.timer);
    loop_timer_free(d.deadline);
    loop_free(d.loop);
    return d.status;
}
