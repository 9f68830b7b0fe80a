#include "agent/status.h"

#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "agent/address.h"
#include "agent/announce.h"
#include "agent/core/issued.h"
#include "agent/core/verdictview.h"
#include "common/base/clock.h"
#include "common/pki/cert.h"

/* What a state means to a person: where we are, and what comes next. */
static const struct {
    const char *text, *next;
} STATES[LIFECYCLE_STATE_N] = {
    [LIFECYCLE_ILLEGAL] = { "never started", "start the agent" },
    [LIFECYCLE_ENROL] = { "introducing this device to the service", "enrol" },
    [LIFECYCLE_KEY] = { "making a key and a certificate request", "make a key" },
    [LIFECYCLE_SUBMIT] = { "handing in the certificate request", "hand the request in" },
    [LIFECYCLE_POLL] = { "waiting for the certificate", "ask for the certificate" },
    [LIFECYCLE_INSTALL] = { "putting the certificate in place", "hand the request in" },
    [LIFECYCLE_SERVE] = { "the certificate is in place", "renew the certificate" },
    [LIFECYCLE_GONE] = { "forgotten", "nothing" },
};

static json_t *certificate_to_json(const struct status *s, int64_t now_s)
{
    const struct certset *c = s->certificate;
    if (c == NULL)
        return json_null();
    char dir[4200];
    (void)snprintf(dir, sizeof dir, "%s/current", s->config->state_dir);
    return json_pack("{ss sI ss ss sI sI sI sb ss}", "name", c->name, "generation",
                     (json_int_t)c->generation, "issuer", c->issuer, "serial", c->serial,
                     "not_before", (json_int_t)c->not_before_s, "not_after",
                     (json_int_t)c->not_after_s, "renew_at", (json_int_t)s->journal->renew_at,
                     "expired", now_s >= c->not_after_s, "dir", dir);
}

static json_t *fallback_to_json(const struct fallback *f)
{
    int64_t from, to;
    if (f == NULL || f->cert == NULL || cert_validity(f->cert, &from, &to) != ERR_OK)
        return json_null();
    return json_pack("{ss sI sI}", "pin", f->pin, "not_before", (json_int_t)from, "not_after",
                     (json_int_t)to);
}

static json_t *served_to_json(const struct delivery *d)
{
    const struct served_result *r = d != NULL ? delivery_served(d) : NULL;
    if (r == NULL)
        return json_null();
    return json_pack("{ss sI ss ss}", "result", served_name(r->what), "at", (json_int_t)r->at,
                     "serial", r->serial, "text", r->text);
}

static json_t *hook_to_json(const struct status *s, int64_t now_s)
{
    const struct hook_result *h = &s->journal->hook;
    if (h->generation == 0)
        return json_null();
    json_t *output = json_string(h->output);
    int64_t next_at = s->delivery != NULL ? delivery_next_at(s->delivery, now_s) : 0;
    return json_pack("{sI so sI sI sb sb si so}", "attempts",
                     (json_int_t)(s->delivery != NULL ? delivery_attempts(s->delivery) : 0),
                     "next_at", next_at > 0 ? json_integer(next_at) : json_null(), "generation",
                     (json_int_t)h->generation, "at", (json_int_t)h->at, "ok",
                     h->exit_status == 0 && !h->timed_out, "timed_out", h->timed_out, "exit_status",
                     h->exit_status, "output", output != NULL ? output : json_string("(not text)"));
}

static json_t *proxies_to_json(const struct status *s)
{
    json_t *list = json_array();
    for (size_t i = 0; i < s->config->n_proxies; i++) {
        const struct config_proxy *p = &s->config->proxies[i];
        char listen[ADDR_TEXT_MAX];
        addr_format(&p->listen, listen);
        json_t *one = json_pack("{ss ss}", "listen", listen, "backend", p->backend_text);
        if (s->proxies != NULL) {
            struct proxy_counters n = proxy_counters(s->proxies[i]);
            json_t *counters = json_pack(
                "{sI sI sI sI sI sI sI sI sI}", "open", (json_int_t)n.open, "accepted",
                (json_int_t)n.accepted, "refused", (json_int_t)n.refused, "handshake_failures",
                (json_int_t)n.handshake_failures, "backend_failures",
                (json_int_t)n.backend_failures, "aborted", (json_int_t)n.aborted, "idle_closed",
                (json_int_t)n.idle_closed, "bytes_up", (json_int_t)n.bytes_up, "bytes_down",
                (json_int_t)n.bytes_down);
            (void)json_object_update(one, counters);
            json_decref(counters);
        }
        (void)json_array_append_new(list, one);
    }
    return list;
}

static json_t *error_to_json(const struct journal *j)
{
    if (j->error[0] == 0)
        return json_null();
    return json_pack("{sI ss sI}", "at", (json_int_t)j->error_at, "text", j->error, "attempts",
                     (json_int_t)j->attempts);
}

static void warn(json_t *list, const char *text)
{
    (void)json_array_append_new(list, json_string(text));
}

#define CLOCK_NEAR_S 60

/* What a person has to do something about, beside the last error. */
static json_t *warnings_to_json(const struct status *s, int64_t now_s)
{
    json_t *list = json_array();
    const struct certset *c = s->certificate;
    char now[CLOCK_TEXT_MAX], told[CLOCK_TEXT_MAX], text[256];
    int64_t off_s = s->clock_s - now_s;
    clock_format(s->clock_s, now, sizeof now);
    clock_format(now_s, told, sizeof told);
    if (off_s > CLOCK_NEAR_S || off_s < -CLOCK_NEAR_S) {
        (void)snprintf(text, sizeof text,
                       "the clock is wrong (it says %s, the service's %s): set it, or start NTP; "
                       "this device goes by the service's until then",
                       now, told);
        warn(list, text);
    } else if (now_s < ISSUED_CLOCK_FLOOR_S || (c != NULL && now_s < c->not_before_s)) {
        (void)snprintf(text, sizeof text,
                       "the clock is behind (it says %s): set it, or start NTP; the certificate is "
                       "served all the same, but none can be had until then",
                       now);
        warn(list, text);
    } else if (c != NULL && now_s >= c->not_after_s) {
        (void)snprintf(text, sizeof text,
                       "the certificate has expired, if the clock is right (it says %s): clients "
                       "get the local certificate until there is a new one",
                       now);
        warn(list, text);
    }
    if (s->storage[0] != 0)
        warn(list, s->storage);
    return list;
}

/* The router's address has a name, too, once it is proven. */
static void add_mapped_url(const struct status *s, json_t *urls)
{
    struct portmap_connection c;
    if (s->report == NULL || s->portmap == NULL || !portmap_connection(s->portmap, &c))
        return;
    const char *label = reported_label(report_last(s->report), &c.address);
    if (label != NULL)
        (void)json_array_append_new(urls, json_sprintf("https://%s.%s.%s:%u/", label, s->id->text,
                                                       s->config->zone, (unsigned)c.port));
}

static void add_names(json_t *root, const struct status *s)
{
    json_t *names = json_array(), *urls = json_array();
    if (s->id != NULL) {
        char name[512];
        (void)snprintf(name, sizeof name, "*.%s.%s", s->id->text, s->config->zone);
        (void)json_array_append_new(names, json_string(name));
        address_add_urls(s->config, s->id->text, s->report != NULL ? report_last(s->report) : NULL,
                         urls);
        add_mapped_url(s, urls);
    }
    (void)json_object_set_new(root, "names", names);
    (void)json_object_set_new(root, "urls", urls);
}

static json_t *relay_to_json(const struct status *s)
{
    json_t *o = s->relay != NULL ? relayclient_to_json(s->relay) : json_null();
    json_t *failed = s->relays != NULL ? relaywatch_to_json(s->relays) : NULL;
    if (json_is_object(o) && failed != NULL)
        (void)json_object_set(o, "failed", failed);
    json_decref(failed);
    return o;
}

json_t *status_to_json(const struct status *s, int64_t now_s)
{
    const struct journal *j = s->journal;
    json_t *root = json_pack(
        "{sb ss sI ss* ss ss ss ss ss ss sI sI}", "running", s->is_running, "version",
        LANYARD_VERSION, "pid", (json_int_t)(s->is_running ? getpid() : 0), "id",
        s->id != NULL ? s->id->text : NULL, "zone", s->config->zone, "server", s->config->server,
        "state", lifecycle_name(j->state), "text", STATES[j->state].text, "detail", s->detail,
        "next", STATES[j->state].next, "next_at", (json_int_t)s->next_at, "now", (json_int_t)now_s);
    if (root == NULL) {
        json_decref(s->resolvers);
        return NULL;
    }
    json_t *name = announce_name(s->config);
    (void)json_object_set_new(root, "name", name != NULL ? name : json_string(""));
    add_names(root, s);
    (void)json_object_set_new(root, "certificate", certificate_to_json(s, now_s));
    (void)json_object_set_new(root, "local_certificate", fallback_to_json(s->fallback));
    (void)json_object_set_new(root, "last_error", error_to_json(j));
    (void)json_object_set_new(root, "warnings", warnings_to_json(s, now_s));
    (void)json_object_set_new(root, "hook", hook_to_json(s, now_s));
    (void)json_object_set_new(root, "served", served_to_json(s->delivery));
    (void)json_object_set_new(root, "port_mapping",
                              s->portmap != NULL ? portmap_to_json(s->portmap, now_s)
                                                 : json_null());
    (void)json_object_set_new(root, "relay", relay_to_json(s));
    (void)json_object_set_new(root, "mdns", s->mdns != NULL ? mdns_to_json(s->mdns) : json_null());
    (void)json_object_set_new(root, "report",
                              s->report != NULL ? report_to_json(s->report) : json_null());
    (void)json_object_set_new(root, "proxies", proxies_to_json(s));
    (void)json_object_set_new(
        root, "pairing", s->pairing != NULL ? pairing_to_json(s->pairing, now_s) : json_null());
    (void)json_object_set_new(root, "resolvers", s->resolvers != NULL ? s->resolvers : json_null());
    return root;
}

/* ---- text ----------------------------------------------------------------------------------- */

static const char *text_of(const json_t *obj, const char *key)
{
    const char *text = json_string_value(json_object_get(obj, key));
    return text != NULL ? text : "";
}

static long long int_of(const json_t *obj, const char *key)
{
    return json_integer_value(json_object_get(obj, key));
}

static void print_date(FILE *out, const char *label, int64_t at_s)
{
    char date[CLOCK_TEXT_MAX];
    clock_format(at_s, date, sizeof date);
    (void)fprintf(out, "%-13s%s\n", label, date);
}

static void print_list(FILE *out, const char *label, const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        (void)fprintf(out, "%-13s%s\n", i == 0 ? label : "",
                      json_string_value(json_array_get(list, i)));
}

static void print_certificate(FILE *out, const json_t *c)
{
    if (!json_is_object(c)) {
        (void)fprintf(out, "certificate  none yet\n");
        return;
    }
    (void)fprintf(out, "certificate  %s\n", text_of(c, "name"));
    (void)fprintf(out, "  issuer     %s\n", text_of(c, "issuer"));
    (void)fprintf(out, "  serial     %s\n", text_of(c, "serial"));
    print_date(out, json_is_true(json_object_get(c, "expired")) ? "  EXPIRED" : "  until",
               int_of(c, "not_after"));
    print_date(out, "  renewal", int_of(c, "renew_at"));
    (void)fprintf(out, "  files      %s (generation %lld)\n", text_of(c, "dir"),
                  int_of(c, "generation"));
}

static void print_fallback(FILE *out, const json_t *c)
{
    if (!json_is_object(c))
        return;
    (void)fprintf(out, "local cert.  pin %s\n", text_of(c, "pin"));
    print_date(out, "  until", int_of(c, "not_after"));
}

static void print_hook(FILE *out, const json_t *h)
{
    if (!json_is_object(h))
        return;
    char date[CLOCK_TEXT_MAX];
    clock_format(int_of(h, "at"), date, sizeof date);
    (void)fprintf(out, "reload       %s at %s (exit status %lld)\n",
                  json_is_true(json_object_get(h, "timed_out")) ? "TIMED OUT"
                  : json_is_true(json_object_get(h, "ok"))      ? "done"
                                                                : "FAILED",
                  date, int_of(h, "exit_status"));
    const char *output = text_of(h, "output");
    int len = (int)strcspn(output, "\n");
    bool more = output[len] != 0 && output[len + 1] != 0;
    if (len > 0)
        (void)fprintf(out, "  output     %.*s%s\n", len, output, more ? " ..." : "");
    if (int_of(h, "next_at") > 0) {
        clock_format(int_of(h, "next_at"), date, sizeof date);
        (void)fprintf(out, "  again      at %s (in vain so far: %lld)\n", date,
                      int_of(h, "attempts"));
    }
}

static void print_served(FILE *out, const json_t *s)
{
    if (!json_is_object(s))
        return;
    const char *result = text_of(s, "result");
    bool bad = strcmp(result, "other") == 0 || strcmp(result, "unreachable") == 0;
    (void)fprintf(out, "application  %s%s\n", bad ? "WARNING: " : "", text_of(s, "text"));
}

static void print_port_mapping(FILE *out, const json_t *m)
{
    if (json_is_object(m))
        (void)fprintf(out, "router       port %lld: %s\n", int_of(m, "port"), text_of(m, "text"));
}

static void print_relay(FILE *out, const json_t *r)
{
    const char *why = text_of(r, "why");
    const json_t *failed = json_object_get(r, "failed");
    bool connected = json_is_true(json_object_get(r, "connected"));
    if (!json_is_object(r))
        return;
    (void)fprintf(out, "relay        %s: %s%s", text_of(r, "name"),
                  connected     ? "connected, "
                  : why[0] != 0 ? "not connected: "
                                : "not connected yet",
                  connected ? text_of(r, "url") : why);
    for (size_t i = 0; i < json_array_size(failed); i++)
        (void)fprintf(out, "%s%s", i == 0 ? "; not reached: " : ", ",
                      json_string_value(json_array_get(failed, i)));
    (void)fputc('\n', out);
}

static void print_mdns(FILE *out, const json_t *m)
{
    const char *name = text_of(m, "name");
    if (json_is_object(m))
        (void)fprintf(out, "mdns         %s%s%s\n", name, name[0] != 0 ? ": " : "",
                      text_of(m, "text"));
}

static void print_pairing(FILE *out, const json_t *p)
{
    if (text_of(p, "code")[0] == 0)
        return;
    (void)fprintf(out, "pairing code %s\n", text_of(p, "code"));
    print_date(out, "  until", int_of(p, "expires_at"));
}

static void print_proxies(FILE *out, const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *p = json_array_get(list, i);
        (void)fprintf(out, "proxy        %s -> %s", text_of(p, "listen"), text_of(p, "backend"));
        if (json_object_get(p, "open") != NULL)
            (void)fprintf(out, ": %lld open, %lld so far, backend failed %lld times",
                          int_of(p, "open"), int_of(p, "accepted"), int_of(p, "backend_failures"));
        (void)fputc('\n', out);
    }
}

static void print_report(FILE *out, const json_t *r)
{
    if (!json_is_object(r))
        return;
    const json_t *error = json_object_get(r, "error");
    if (int_of(r, "at") > 0)
        print_date(out, "reported", int_of(r, "at"));
    print_list(out, "  seen from", json_object_get(r, "observed"));
    if (json_is_object(error))
        (void)fprintf(out, "report       FAILED: %s\n", text_of(error, "text"));
}

static void print_next(FILE *out, const json_t *root)
{
    int64_t at = int_of(root, "next_at"), in_s = at - int_of(root, "now");
    bool running = json_is_true(json_object_get(root, "running"));
    const char *state = text_of(root, "state");
    char date[CLOCK_TEXT_MAX];
    (void)fprintf(out, "next         %s", text_of(root, "next"));
    if (at > 0 && in_s > 0) {
        clock_format(at, date, sizeof date);
        (void)fprintf(out, " at %s", date);
    } else if (strcmp(state, "gone") != 0 && strcmp(state, "none") != 0) {
        (void)fprintf(out, "%s", running ? ": under way" : ", as soon as the agent runs");
    }
    (void)fputc('\n', out);
}

void status_print(const json_t *root, FILE *out)
{
    if (!json_is_true(json_object_get(root, "running")))
        (void)fprintf(
            out, "The agent is not running%s. This is what is on disk:\n",
            json_array_size(json_object_get(root, "warnings")) > 0 ? ", or cannot be asked" : "");
    const char *id = text_of(root, "id");
    (void)fprintf(out, "device       %s\n", id[0] != 0 ? id : "no identity yet");
    (void)fprintf(out, "zone         %s at %s\n", text_of(root, "zone"), text_of(root, "server"));
    print_list(out, "address", json_object_get(root, "urls"));
    (void)fprintf(out, "state        %s\n", text_of(root, "text"));
    if (text_of(root, "detail")[0] != 0)
        (void)fprintf(out, "             %s\n", text_of(root, "detail"));
    print_next(out, root);
    const json_t *error = json_object_get(root, "last_error");
    if (json_is_object(error)) {
        print_date(out, "last error", int_of(error, "at"));
        (void)fprintf(out, "             %s\n", text_of(error, "text"));
    }
    print_list(out, "WARNING", json_object_get(root, "warnings"));
    print_certificate(out, json_object_get(root, "certificate"));
    print_fallback(out, json_object_get(root, "local_certificate"));
    print_hook(out, json_object_get(root, "hook"));
    print_served(out, json_object_get(root, "served"));
    print_port_mapping(out, json_object_get(root, "port_mapping"));
    print_relay(out, json_object_get(root, "relay"));
    print_mdns(out, json_object_get(root, "mdns"));
    print_report(out, json_object_get(root, "report"));
    print_proxies(out, json_object_get(root, "proxies"));
    print_pairing(out, json_object_get(root, "pairing"));
    verdict_print(json_object_get(root, "resolvers"), false, out);
}
