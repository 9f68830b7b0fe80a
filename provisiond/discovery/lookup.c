#include "provisiond/discovery/lookup.h"

#include <stdio.h>
#include <string.h>

#include <openssl/sha.h>

#include "common/base/b64url.h"
#include "provisiond/api/relaygrant.h"
#include "provisiond/discovery/devicejson.h"
#include "provisiond/store/device.h"

#define NETWORK_HASH_LEN 12 /* bytes of it that are shown */
#define FAILED_HOLDS_S (2 * (int64_t)REPORT_EVERY_S)
/* What a device said about relays: it may have come back to its own since, and lost a report. */

/* What the device said last, and when; *reported: at all, and so that we can read it. */
static enum err read_report(struct visit *v, struct sql *db, const char *id,
                            struct reportbody *body, int64_t *at, bool *reported)
{
    struct report_row row = { .body = NULL };
    enum err e = report_get(db, id, &row, &v->job.info);
    *reported = e == ERR_OK && reportbody_parse(body, span_str(row.body), NULL) == ERR_OK;
    *at = row.at;
    report_clear(&row);
    return e == ERR_NOTFOUND ? ERR_OK : e;
}

/* Adds one device to v->devices. */
static enum err add_device(struct visit *v, struct sql *db, const char *id, int64_t now_s)
{
    const struct config *config = v->d->parts.config;
    struct device_row row;
    struct reportbody body;
    int64_t reported_at = 0;
    bool reported = false;
    struct observed_row observed[OBSERVED_MAX];
    struct ip proven[OBSERVED_MAX];
    size_t n = 0;
    enum err e = device_get(db, id, &row, &v->job.info);
    if (e == ERR_NOTFOUND || (e == ERR_OK && row.state != DEVICE_ACTIVE))
        return ERR_OK;
    const struct config_zone *zone = e == ERR_OK ? config_zone_find(config, row.zone) : NULL;
    if (e == ERR_OK && zone == NULL) /* not served any more */
        return ERR_OK;
    if (e == ERR_OK)
        e = observed_list(db, id, now_s - OBSERVED_PROVEN_S, observed, &n, &v->job.info);
    if (e == ERR_OK)
        e = read_report(v, db, id, &body, &reported_at, &reported);
    if (e != ERR_OK)
        return e;
    for (size_t i = 0; i < n; i++)
        proven[i] = observed[i].ip;
    if (reported)
        reportbody_keep_proven(&body, proven, n);
    struct relays_entry relay = { .port = 0 };
    char host[RELAYGRANT_HOST_MAX];
    bool recent = reported && now_s - reported_at <= FAILED_HOLDS_S;
    bool has_relay =
        relaygrant_find(&relay, host, config, zone, id, recent ? &body.relay_failed : NULL);
    explicit_bzero(&relay.keys, sizeof relay.keys);
    const struct devicejson d = { .id = id,
                                  .zone = zone->name,
                                  .tag_keys = zone->tag_keys,
                                  .seen_at = reported ? reported_at : row.seen_at,
                                  .report = reported ? &body : NULL,
                                  .n_observed = n,
                                  .observed = observed,
                                  .visitor = &v->from,
                                  .relay_host = has_relay ? host : NULL,
                                  .relay_ip = has_relay ? &relay.address : NULL,
                                  .relay_port = has_relay ? relay.port : 0,
                                  .now_s = now_s };
    return json_array_append_new(v->devices, devicejson_make(&d)) == 0 ? ERR_OK : ERR_NOMEM;
}

enum err lookup_devices(struct visit *v, struct sql *db, char (*ids)[DEVID_LEN + 1], size_t n,
                        int64_t now_s)
{
    json_decref(v->devices); /* of a run before this one */
    v->devices = json_array();
    enum err e = v->devices == NULL ? ERR_NOMEM : ERR_OK;
    for (size_t i = 0; i < n && e == ERR_OK; i++)
        e = add_device(v, db, ids[i], now_s);
    return e;
}

json_t *lookup_network(const struct visit *v)
{
    char network[NETWORK_TEXT_MAX], text[NETWORK_TEXT_MAX + 32];
    char out[B64URL_LEN(NETWORK_HASH_LEN) + 1];
    uint8_t hash[SHA256_DIGEST_LENGTH];
    network_text(&v->from, network);
    int n = snprintf(text, sizeof text, "lanyard-network-v1 %s", network);
    SHA256((const uint8_t *)text, (size_t)n, hash);
    b64url_encode((struct span){ hash, NETWORK_HASH_LEN }, out);
    return json_string(out);
}

void lookup_respond(struct visit *v)
{
    v->answer = json_pack("{s:o, s:O}", "network", lookup_network(v), "devices", v->devices);
    if (v->answer == NULL)
        visit_problem(v, 503, "unavailable", "out of memory: try again", 10);
    else
        visit_respond(v, 200, v->answer);
}
