/* report.c - PUT /v1/report: what the device says about itself is kept, and the address that it
 * connects from is proven: it earns the device a tag for it. The answer has what GET /v1/renewal
 * says, too: a device at rest makes one connection instead of two. */
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "common/base/clock.h"
#include "provisiond/api/call.h"
#include "provisiond/api/relaygrant.h"

static enum err run(struct job *j, void *ctx)
{
    struct call *c = (struct call *)j;
    int64_t now = clock_now_s();
    enum err e = call_check_device(c, ctx, now);
    c->report.at = now;
    if (e == ERR_OK)
        e = report_put(ctx, &c->report, &j->info);
    if (e == ERR_OK)
        e = observed_put(ctx, c->id.text, &c->from, now, &j->info);
    if (e == ERR_OK)
        e = observed_list(ctx, c->id.text, now - OBSERVED_PROVEN_S, c->observed, &c->n_observed,
                          &j->info);
    if (e == ERR_OK)
        e = renewal_load(c, ctx, now);
    return e;
}

/* Nobody can be sent to a private address from elsewhere, and its name needs no tag. */
static json_t *tags_json(const struct call *c)
{
    const struct config_zone *zone = config_zone_find(c->api->parts.config, c->device.zone);
    json_t *tags = json_array();
    for (size_t i = 0; i < c->n_observed && zone != NULL && zone->tag_keys != NULL; i++) {
        const struct observed_row *o = &c->observed[i];
        char label[TAG_LABEL_MAX], name[512];
        if (ip_classify(&o->ip) != IP_PUBLIC)
            continue;
        tagkeys_label(zone->tag_keys, label, span_str(c->id.text), &o->ip);
        (void)snprintf(name, sizeof name, "%s.%s.%s", label, c->id.text, zone->name);
        (void)json_array_append_new(tags,
                                    json_pack("{s:s, s:s}", "address", o->address, "name", name));
    }
    return tags;
}

static json_t *relay_json(const struct call *c)
{
    const struct config *conf = c->api->parts.config;
    return relaygrant_json(conf, config_zone_find(conf, c->device.zone), c->id.text,
                           &c->relay_failed, clock_now_s());
}

static void respond(struct call *c)
{
    char observed[NETWORK_TEXT_MAX];
    network_address_text(&c->from, observed);
    json_t *o =
        json_pack("{s:s, s:o, s:o, s:o, s:i}", "observed", observed, "tags", tags_json(c), "relay",
                  relay_json(c), "renewal", c->has_current ? renewal_json(c) : json_null(),
                  "next_report_s", REPORT_EVERY_S);
    call_respond_json(c, 200, o);
}

static void done(struct job *j, enum err e)
{
    struct call *c = (struct call *)j;
    if (e == ERR_OK)
        respond(c);
    else if (!call_device_refused(c, e))
        call_store_failed(c, e);
}

void put_report(struct call *c)
{
    struct err_info info = { "" };
    struct reportbody body;
    enum err e = reportbody_parse(&body, httpd_body(c->req), &info);
    if (e != ERR_OK) {
        call_problem(c, e == ERR_LIMIT ? 413 : 400, "malformed", info.text, 0);
        return;
    }
    (void)snprintf(c->report.device, sizeof c->report.device, "%s", c->id.text);
    (void)snprintf(c->report.name, sizeof c->report.name, "%s", body.name);
    c->report.nearby = body.nearby;
    c->relay_failed = body.relay_failed;
    c->report.body = reportbody_write(&body);
    if (c->report.body == NULL)
        call_problem(c, 503, "unavailable", "out of memory: try again", 10);
    else if (!network_ip(&c->from, addr_ip((const struct sockaddr *)&c->peer.ss)))
        call_problem(c, 500, NULL, "the connection has no address", 0);
    else
        call_store(c, run, done);
}
