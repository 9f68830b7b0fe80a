/* enroll.c - POST /v1/enroll: admits the identity key of the connection to a zone. */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "provisiond/api/call.h"

#define NEXT_CONTACT_S 86400
#define TOKEN_FIELD_MAX 128

/* The fields of the request, copied out of the JSON. False: answered already. */
struct request {
    char zone[256];
    bool has_token;
    char token[TOKEN_FIELD_MAX];
};

static const char *copy_field(json_t *o, const char *key, char *out, size_t cap, bool *present)
{
    json_t *v = json_object_get(o, key);
    *present = v != NULL && !json_is_null(v);
    if (!*present)
        return NULL;
    if (!json_is_string(v))
        return "must be a string";
    if (json_string_length(v) >= cap || strlen(json_string_value(v)) != json_string_length(v))
        return "is too long";
    memcpy(out, json_string_value(v), json_string_length(v) + 1);
    return NULL;
}

static enum err parse(struct span body, struct request *out, struct err_info *info)
{
    json_error_t je;
    bool has_zone = false;
    json_t *o = json_loadb((const char *)body.p, body.len, JSON_REJECT_DUPLICATES, &je);
    if (o == NULL)
        return err_set(info, ERR_INVALID, "not JSON: line %d: %s", je.line, je.text);
    const char *wrong = json_is_object(o) ? NULL : "is not an object";
    const char *field = "the body";
    if (wrong == NULL) {
        field = "zone";
        wrong = copy_field(o, field, out->zone, sizeof out->zone, &has_zone);
        if (wrong == NULL && !has_zone)
            wrong = "is missing";
    }
    if (wrong == NULL) {
        field = "token";
        wrong = copy_field(o, field, out->token, sizeof out->token, &out->has_token);
    }
    json_decref(o);
    return wrong == NULL ? ERR_OK : err_set(info, ERR_INVALID, "%s %s", field, wrong);
}

static enum err run(struct job *j, void *ctx)
{
    struct call *c = (struct call *)j;
    return device_admit(ctx, c->id.text, c->zone->name, c->has_token ? c->token_hash : NULL,
                        clock_now_s(), &c->fresh, &j->info);
}

static void respond_admitted(struct call *c)
{
    char name[300];
    (void)snprintf(name, sizeof name, "*.%s.%s", c->id.text, c->zone->name);
    json_t *o =
        json_pack("{s:s, s:s, s:[s], s:{s:s, s:s}, s:I}", "id", c->id.text, "zone", c->zone->name,
                  "names", name, "endpoints", "certificate", "/v1/certificate", "device",
                  "/v1/device", "next_contact_in", (json_int_t)NEXT_CONTACT_S);
    char *text = o == NULL ? NULL : json_dumps(o, JSON_COMPACT);
    json_decref(o);
    if (c->fresh)
        log_info("a device was admitted to %s", c->zone->name);
    if (text == NULL)
        call_problem(c, 503, "unavailable", "out of memory: try again", 10);
    else
        call_respond(c, c->fresh ? 201 : 200, "application/json", span_str(text));
    free(text);
}

static void done(struct job *j, enum err e)
{
    struct call *c = (struct call *)j;
    if (e == ERR_OK)
        respond_admitted(c);
    else if (e == ERR_DENIED)
        call_problem(c, 403, "token-invalid",
                     "the enrolment token is unknown, used up, expired or revoked", 0);
    else if (e == ERR_ILLEGAL)
        call_problem(c, 403, "suspended", "this device is suspended by the operator", 86400);
    else if (e == ERR_EXISTS)
        call_problem(c, 409, "other-zone", "this device is enrolled in another zone", 0);
    else
        call_store_failed(c, e);
}

/* An address is one client; of IPv6 it is the /64 that a home gets. */
static struct span prefix_of(const struct addr *a)
{
    if (a->ss.ss_family == AF_INET6) {
        const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)&a->ss;
        return (struct span){ sin6->sin6_addr.s6_addr, 8 };
    }
    const struct sockaddr_in *sin = (const struct sockaddr_in *)&a->ss;
    return (struct span){ (const uint8_t *)&sin->sin_addr, 4 };
}

void post_enroll(struct call *c)
{
    struct request rq = { .zone = "" };
    struct err_info info = { "" };
    if (parse(httpd_body(c->req), &rq, &info) != ERR_OK) {
        call_problem(c, 400, "malformed", info.text, 0);
        return;
    }
    c->zone = config_zone_find(c->api->parts.config, rq.zone);
    if (c->zone == NULL) {
        call_problem(c, 404, "unknown-zone", "this service does not serve that zone", 0);
        return;
    }
    int64_t wait_ms =
        gcra_table_take(c->api->enroll_limit, prefix_of(httpd_peer(c->req)), clock_mono_ms());
    if (wait_ms > 0) {
        call_problem(c, 429, "rate-limited", "too many enrolments from this address",
                     wait_ms / 1000 + 1);
        return;
    }
    if (c->zone->enroll == CONFIG_ENROLL_TOKEN) {
        enum err e = ERR_OK;
        c->has_token = true;
        if (rq.has_token)
            e = token_hash(c->token_hash, span_str(rq.token));
        else
            memset(c->token_hash, 0, sizeof c->token_hash); /* matches nothing: a known device
                                                               needs no token again */
        if (e != ERR_OK)
            memset(c->token_hash, 0, sizeof c->token_hash);
    }
    explicit_bzero(rq.token, sizeof rq.token);
    call_store(c, run, done);
}
