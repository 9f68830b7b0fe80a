/* identify.c - who asks: the holder of a viewer token, or an account at the vendor by a token of
 * its OpenID Connect issuer. [RFC 6750 s2.1] */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/sha.h>

#include "common/base/clock.h"
#include "provisiond/discovery/visit.h"

static const char NOT_ALLOWED[] = "no device is shown for this: bring a viewer token of the device "
                                  "or a token of your account";

/* Behind "Bearer "; NULL when it is another scheme or none. */
static const char *bearer_of(const struct httpd_req *r)
{
    static const char SCHEME[] = "Bearer ";
    const char *text = httpd_header(r, "Authorization");
    if (text == NULL || strncasecmp(text, SCHEME, sizeof SCHEME - 1) != 0)
        return NULL;
    text += sizeof SCHEME - 1;
    return text + strspn(text, " ");
}

/* The first zone whose accounts have such tokens, or the number of zones; *info says why not. */
static size_t find_zone(const struct config *c, const struct jwt *t, struct err_info *info)
{
    size_t i = 0;
    (void)err_set(info, ERR_DENIED, "it is from another issuer");
    for (; i < c->n_zones; i++) {
        const struct config_zone *z = &c->zones[i];
        if (z->oidc_issuer == NULL || strcmp(z->oidc_issuer, t->iss) != 0)
            continue;
        if (jwt_check(t, z->oidc_issuer, z->oidc_audience, clock_now_s(), info) == ERR_OK)
            break;
    }
    return i;
}

/* Issuer and subject are what an account is; the zero between them is in neither. */
static void set_account(struct visit *v)
{
    char text[2 * JWT_URL_MAX];
    size_t iss = strlen(v->jwt.iss) + 1, sub = strlen(v->jwt.sub);
    memcpy(text, v->jwt.iss, iss);
    memcpy(text + iss, v->jwt.sub, sub);
    v->viewer.kind = VIEWER_ACCOUNT;
    SHA256((const uint8_t *)text, iss + sub, v->viewer.hash);
}

static void verify(void *arg)
{
    struct visit *v = arg;
    enum err e = oidckeys_verify(v->d->keys, v->issuer, &v->jwt, span_str(v->token), &v->wait);
    if (e == ERR_AGAIN)
        return;
    if (v->req == NULL) { /* nobody waits for it */
        visit_respond(v, 0, NULL);
        return;
    }
    if (e == ERR_UNAVAILABLE) {
        visit_problem(v, 503, "issuer-unavailable",
                      "the keys of your account's issuer cannot be fetched: try again", 10);
        return;
    }
    if (e != ERR_OK) {
        visit_refuse(v, "the token is not signed by a key of its issuer");
        return;
    }
    set_account(v);
    v->zone = &v->d->parts.config->zones[v->issuer];
    v->go_on(v);
}

static void identify_account(struct visit *v, const char *text)
{
    struct err_info info = { "" };
    const struct config *c = v->d->parts.config;
    if (jwt_parse(&v->jwt, span_str(text), &info) != ERR_OK ||
        (v->issuer = find_zone(c, &v->jwt, &info)) == c->n_zones) {
        char detail[200];
        (void)snprintf(detail, sizeof detail, "the token is not accepted: %.120s", info.text);
        visit_refuse(v, detail);
        return;
    }
    v->token = strdup(text);
    v->wait.fn = verify;
    v->wait.arg = v;
    if (v->token == NULL)
        visit_problem(v, 503, "unavailable", "out of memory: try again", 10);
    else
        verify(v);
}

void visit_identify(struct visit *v, void (*go_on)(struct visit *v))
{
    const char *text = bearer_of(v->req);
    v->go_on = go_on;
    if (text != NULL && token_hash(v->viewer.hash, TOKEN_VIEWER, span_str(text)) == ERR_OK) {
        v->viewer.kind = VIEWER_TOKEN;
        go_on(v);
    } else if (text != NULL && strchr(text, '.') != NULL) {
        identify_account(v, text);
    } else {
        visit_refuse(v, NOT_ALLOWED);
    }
}

void visit_identify_account(struct visit *v, void (*go_on)(struct visit *v))
{
    const char *text = bearer_of(v->req);
    v->go_on = go_on;
    if (text != NULL && strchr(text, '.') != NULL)
        identify_account(v, text);
    else
        visit_refuse(v, NOT_ALLOWED);
}
