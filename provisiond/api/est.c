/* est.c - Enrollment over Secure Transport for firmware without an agent [RFC 7030]: the same
 * devices, rules and orders as the routes under /v1, in EST's forms. A device is admitted by its
 * first simpleenroll: with a token as the password of HTTP Basic, or with a factory certificate
 * over its identity key as the TLS client certificate. */
#include "provisiond/core/est.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "provisiond/api/admit.h"
#include "provisiond/core/csr.h"

#define PKCS7 "application/pkcs7-mime; smime-type=certs-only"
#define TEXT_MAX (128 * 1024)
#define PASSWORD_MAX 256

/* The zone that the path names, or the only one there is; NULL: unknown, or the client must say. */
static const struct config_zone *zone_of(const struct call *c)
{
    const struct config *config = c->api->parts.config;
    if (c->label[0] != 0)
        return config_zone_find(config, c->label);
    return config->n_zones == 1 ? &config->zones[0] : NULL;
}

static void respond_no_zone(struct call *c)
{
    call_problem(c, 404, "unknown-zone",
                 "name a zone that is served: /.well-known/est/ZONE/simpleenroll", 0);
}

/* Ends the call with base64 text. */
static void respond_text(struct call *c, enum err e, const char *type, const struct buf *text)
{
    if (e != ERR_OK) {
        call_problem(c, 503, "unavailable", "out of memory: try again", 10);
        return;
    }
    if (c->req != NULL) /* [RFC 7030 s4.1.3]; RFC 8951 has clients ignore it */
        httpd_add_header(c->req, "Content-Transfer-Encoding", "base64");
    call_respond(c, 200, type, buf_span(text));
}

static void respond_certs(struct call *c, STACK_OF(X509) * certs)
{
    struct buf text;
    buf_init(&text, TEXT_MAX);
    enum err e = est_certs_only(certs, &text);
    respond_text(c, e, PKCS7, &text);
    buf_clear(&text);
}

void est_respond_chain(struct call *c)
{
    STACK_OF(X509) *chain = NULL;
    if (cert_chain_parse(&chain, buf_span(&c->chain), NULL) != ERR_OK) {
        call_problem(c, 500, NULL, "the service failed: its log says why", 60);
        return;
    }
    while (sk_X509_num(chain) > 1) /* only what was issued [RFC 7030 s4.2.3] */
        X509_free(sk_X509_pop(chain));
    respond_certs(c, chain);
    sk_X509_pop_free(chain, X509_free);
}

/* --- cacerts --- */

static const struct config_issuer *local_issuer(const struct call *c)
{
    const struct config_issuer *is = &c->api->parts.config->issuers[c->zone->issuers[0]];
    return is->is_local ? is : NULL;
}

/* The private CA's own files: its root is what clients are to trust. */
static enum err read_local(const struct config_issuer *is, struct buf *out, struct err_info *info)
{
    static const char *const FILES[] = { "root.pem", "intermediate.pem" };
    enum err e = ERR_OK;
    for (size_t i = 0; i < ARRAY_LEN(FILES) && e == ERR_OK; i++) {
        char path[4096];
        int n = snprintf(path, sizeof path, "%s/%s", is->dir, FILES[i]);
        if (n < 0 || (size_t)n >= sizeof path)
            return err_set(info, ERR_IO, "the path of the local CA is too long");
        e = file_read(path, out, info);
    }
    return e;
}

static enum err run_cacerts(struct job *j, void *ctx)
{
    struct call *c = (struct call *)j;
    const struct config_issuer *local = local_issuer(c);
    buf_reset(&c->chain);
    if (local != NULL)
        return read_local(local, &c->chain, &j->info);
    return certificate_newest(ctx, c->zone->name, c->id.text, &c->chain, &j->info);
}

static void done_cacerts(struct job *j, enum err e)
{
    struct call *c = (struct call *)j;
    STACK_OF(X509) *chain = NULL;
    if (e == ERR_NOTFOUND) {
        call_problem(c, 404, "no-certificate",
                     "no certificate was issued in this zone yet: its CA is not known", 60);
        return;
    }
    if (e == ERR_OK)
        e = cert_chain_parse(&chain, buf_span(&c->chain), &j->info);
    if (e != ERR_OK) {
        call_store_failed(c, e);
        return;
    }
    if (local_issuer(c) == NULL) /* the device's certificate is no CA's */
        X509_free(sk_X509_shift(chain));
    respond_certs(c, chain);
    sk_X509_pop_free(chain, X509_free);
}

void get_est_cacerts(struct call *c)
{
    c->zone = zone_of(c);
    if (c->zone == NULL)
        respond_no_zone(c);
    else
        call_store(c, run_cacerts, done_cacerts);
}

/* --- csrattrs --- */

void get_est_csrattrs(struct call *c)
{
    char name[300];
    struct buf text;
    c->zone = zone_of(c);
    if (c->zone == NULL) {
        respond_no_zone(c);
        return;
    }
    (void)snprintf(name, sizeof name, "*.%s.%s", c->id.text, c->zone->name);
    buf_init(&text, 4096);
    enum err e = est_csr_attributes(c->anonymous ? NULL : name, &text);
    respond_text(c, e, "application/csrattrs", &text);
    buf_clear(&text);
}

/* --- simpleenroll and simplereenroll --- */

static enum err run_admit(struct job *j, void *ctx)
{
    struct call *c = (struct call *)j;
    int64_t now = clock_now_s();
    enum err e = admit_run(c, ctx, now);
    if (e == ERR_OK && admission_answer(c->admission)->type == NULL)
        e = call_check_device(c, ctx, now);
    return e;
}

static void done_admit(struct job *j, enum err e)
{
    struct call *c = (struct call *)j;
    const struct admission_answer *a = admission_answer(c->admission);
    if (e != ERR_OK) {
        if (!call_device_refused(c, e))
            call_store_failed(c, e);
    } else if (a->type == NULL) {
        certificate_submit(c);
    } else if (c->admission == ADMISSION_TOKEN) { /* [RFC 7030 s3.2.3] */
        if (c->req != NULL)
            httpd_add_header(c->req, "WWW-Authenticate", "Basic realm=\"enrolment token\"");
        call_problem(c, 401, a->type, a->detail, 0);
    } else {
        call_problem(c, a->status, a->type, a->detail, a->retry_after_s);
    }
}

/* The device is not known: what it brought must admit it. */
static void admit(struct call *c)
{
    struct buf password;
    c->zone = zone_of(c);
    if (c->zone == NULL) {
        respond_no_zone(c);
        return;
    }
    int64_t wait_s = admit_wait_s(c);
    if (wait_s > 0) {
        call_problem(c, 429, "rate-limited", "too many enrolments from this network", wait_s);
        return;
    }
    const char *authorization = httpd_header(c->req, "Authorization");
    buf_init(&password, PASSWORD_MAX);
    if (authorization != NULL && est_basic_password(authorization, &password) != ERR_OK)
        buf_reset(&password);
    struct admit_credential cred = { .token = buf_span(&password),
                                     .factory_chain = httpd_peer_chain(c->req) };
    admit_prepare(c, &cred);
    sk_X509_pop_free(cred.factory_chain, X509_free);
    buf_wipe(&password);
    call_store(c, run_admit, done_admit);
}

static enum err run_check(struct job *j, void *ctx)
{
    return call_check_device((struct call *)j, ctx, clock_now_s());
}

/* A label that is another zone than the device's is a mistake of the firmware's settings. */
static bool is_other_zone(const struct call *c)
{
    const struct config_zone *z = c->label[0] != 0 ? zone_of(c) : NULL;
    return c->label[0] != 0 && (z == NULL || strcmp(z->name, c->device.zone) != 0);
}

static void submit_if_known(struct call *c, enum err e)
{
    if (e == ERR_OK && is_other_zone(c))
        call_problem(c, 409, "other-zone", "this device is enrolled in another zone", 0);
    else if (e == ERR_OK)
        certificate_submit(c);
    else if (!call_device_refused(c, e))
        call_store_failed(c, e);
}

static void done_check_enroll(struct job *j, enum err e)
{
    struct call *c = (struct call *)j;
    if (e != ERR_NOTFOUND)
        submit_if_known(c, e);
    else if (c->req == NULL)
        call_respond(c, 0, NULL, (struct span){ NULL, 0 });
    else
        admit(c);
}

static void done_check_reenroll(struct job *j, enum err e)
{
    submit_if_known((struct call *)j, e);
}

static void start(struct call *c, void (*done)(struct job *j, enum err e))
{
    c->est = true;
    buf_init(&c->body, CSR_MAX);
    if (est_decode(httpd_body(c->req), &c->body) == ERR_OK)
        call_store(c, run_check, done);
    else if (buf_error(&c->body) == ERR_LIMIT)
        call_problem(c, 413, "csr-too-large", "a certificate request has at most 16 KiB", 0);
    else
        call_problem(c, 400, "csr-malformed", "the body is not a PKCS#10 request in base64", 0);
}

void post_est_simpleenroll(struct call *c)
{
    start(c, done_check_enroll);
}

void post_est_simplereenroll(struct call *c)
{
    start(c, done_check_reenroll);
}
