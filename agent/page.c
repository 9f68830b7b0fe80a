#include "agent/page.h"

#include <stdbool.h>
#include <string.h>

#include "agent/qrsvg.h"
#include "common/base/clock.h"

#define URLS_SHOWN 6
#define REFRESH_S 30
#define TESTING_REFRESH_S 3

static const char HEAD[] = "<!doctype html>\n"
                           "<html lang=\"en\"><head><meta charset=\"utf-8\">"
                           "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
                           "<meta http-equiv=\"refresh\" content=\"";
static const char TITLE[] = "\"><title>";
static const char STYLE[] =
    "</title><style>"
    ":root{color-scheme:light dark;--line:#8884;--good:#1a7f37;--bad:#b42318;--wait:#9a6700}"
    "@media(prefers-color-scheme:dark){:root{--good:#4ac26b;--bad:#ff7b72;--wait:#d29922}}"
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:46rem;margin:0 auto;padding:1.5rem 1rem}"
    "h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}"
    ".id{font-family:ui-monospace,monospace;font-size:.85rem;overflow-wrap:anywhere;opacity:.75}"
    ".state{padding:.75rem 1rem;border:1px solid var(--line);border-left:.4rem solid;"
    "border-radius:.4rem;margin:1rem 0;overflow-wrap:anywhere}.state p{margin:.35rem 0 0}"
    ".good{border-left-color:var(--good)}.bad{border-left-color:var(--bad)}"
    ".wait{border-left-color:var(--wait)}"
    ".urls{display:grid;grid-template-columns:repeat(auto-fill,minmax(13rem,1fr));gap:1rem;"
    "padding:0;list-style:none}.urls li{border:1px solid var(--line);border-radius:.4rem;"
    "padding:.75rem;overflow-wrap:anywhere}"
    ".qr{display:block;width:9rem;height:9rem;margin:0 auto .5rem;border-radius:.3rem}"
    "table{border-collapse:collapse;width:100%}"
    "th,td{text-align:left;vertical-align:top;padding:.35rem .5rem .35rem 0;"
    "border-top:1px solid var(--line);overflow-wrap:anywhere}th{font-weight:600;width:9rem}"
    "td.t{width:11rem}time{white-space:nowrap}"
    "@media(max-width:30rem){th{width:7.5rem}.events td{display:block;width:auto}"
    ".events td+td{border:0;padding-top:0}}"
    ".code{font:600 2rem ui-monospace,monospace;letter-spacing:.1em;margin:.5rem 0}"
    "pre{padding:.6rem .8rem;border:1px solid var(--line);border-radius:.4rem;overflow-x:auto;"
    "user-select:all}summary{cursor:pointer}ol{padding-left:1.25rem;margin:.5rem 0}"
    "button{font:inherit;padding:.4rem .9rem;border:1px solid var(--line);border-radius:.4rem;"
    "background:none;color:inherit;cursor:pointer}"
    "</style></head><body>\n";

static void add_text(struct buf *out, const char *text)
{
    for (const char *p = text; *p != 0; p++) {
        if (*p == '<')
            buf_add_str(out, "&lt;");
        else if (*p == '>')
            buf_add_str(out, "&gt;");
        else if (*p == '&')
            buf_add_str(out, "&amp;");
        else if (*p == '"')
            buf_add_str(out, "&quot;");
        else
            buf_add(out, p, 1);
    }
}

static const char *text_of(const json_t *obj, const char *key)
{
    const char *text = json_string_value(json_object_get(obj, key));
    return text != NULL ? text : "";
}

static long long int_of(const json_t *obj, const char *key)
{
    return json_integer_value(json_object_get(obj, key));
}

/* To the minute, as people read it, and never broken in two. */
static void add_date(struct buf *out, int64_t at_s)
{
    char date[CLOCK_TEXT_MAX];
    clock_format(at_s, date, sizeof date);
    if (strlen(date) == sizeof "2027-01-15T08:00:00Z" - 1)
        buf_add_fmt(out, "<time datetime=\"%s\">%.10s %.5s UTC</time>", date, date, date + 11);
    else
        add_text(out, date);
}

static void add_row(struct buf *out, const char *name, const char *value)
{
    buf_add_fmt(out, "<tr><th scope=\"row\">%s</th><td>", name);
    add_text(out, value);
    buf_add_str(out, "</td></tr>\n");
}

static void add_date_row(struct buf *out, const char *name, int64_t at_s)
{
    buf_add_fmt(out, "<tr><th scope=\"row\">%s</th><td>", name);
    add_date(out, at_s);
    buf_add_str(out, "</td></tr>\n");
}

static bool is_served(const json_t *status, const char *result)
{
    return strcmp(text_of(json_object_get(status, "served"), "result"), result) == 0;
}

static bool is_in_trouble(const json_t *status)
{
    const json_t *hook = json_object_get(status, "hook");
    return json_is_object(json_object_get(status, "last_error")) ||
           json_array_size(json_object_get(status, "warnings")) > 0 ||
           (json_is_object(hook) && !json_is_true(json_object_get(hook, "ok")));
}

struct summary {
    const char *kind, *headline;
};

static struct summary summarise(const json_t *status)
{
    const json_t *cert = json_object_get(status, "certificate");
    bool trouble = is_in_trouble(status);
    if (!json_is_object(cert))
        return (struct summary){ trouble ? "bad" : "wait", "This device has no certificate yet." };
    if (json_is_true(json_object_get(cert, "expired")))
        return (struct summary){ "bad", "The certificate has expired." };
    if (is_served(status, "other"))
        return (struct summary){ "bad", "The application does not use the certificate." };
    if (is_served(status, "unreachable"))
        return (struct summary){ "bad", "The application cannot be reached." };
    if (trouble)
        return (struct summary){ "wait", "This device can be reached securely, but needs a look." };
    return (struct summary){ "good", "This device can be reached securely." };
}

static void add_sentence(struct buf *out, const char *start, const char *text)
{
    buf_add_str(out, "<p>");
    buf_add_str(out, start);
    add_text(out, text);
    buf_add_str(out, "</p>\n");
}

static void add_failed_hook(struct buf *out, const json_t *hook)
{
    const char *output = text_of(hook, "output");
    if (json_is_true(json_object_get(hook, "timed_out")))
        buf_add_str(out, "<p>Warning: the reload command was stopped at its time limit");
    else
        buf_add_fmt(out, "<p>Warning: the reload command failed (exit status %lld)",
                    int_of(hook, "exit_status"));
    buf_add_str(out, ", so that the application may not have read the certificate");
    buf_add_str(out, output[0] != 0 ? ": " : ".");
    add_text(out, output);
    buf_add_str(out, "</p>\n");
}

/* What somebody has to do something about. */
static void add_troubles(struct buf *out, const json_t *status)
{
    const json_t *error = json_object_get(status, "last_error");
    const json_t *warnings = json_object_get(status, "warnings");
    const json_t *hook = json_object_get(status, "hook");
    if (json_is_object(error))
        add_sentence(out, "The last attempt to get one failed: ", text_of(error, "text"));
    for (size_t i = 0; i < json_array_size(warnings); i++) {
        const char *text = json_string_value(json_array_get(warnings, i));
        add_sentence(out, "Warning: ", text != NULL ? text : "");
    }
    if (is_served(status, "other") || is_served(status, "unreachable"))
        add_sentence(out, "Warning: ", text_of(json_object_get(status, "served"), "text"));
    if (json_is_object(hook) && !json_is_true(json_object_get(hook, "ok")))
        add_failed_hook(out, hook);
}

/* How it is, before everything else. */
static void add_state(struct buf *out, const json_t *status)
{
    struct summary s = summarise(status);
    buf_add_fmt(out, "<div class=\"state %s\" role=\"status\"><strong>%s</strong>\n", s.kind,
                s.headline);
    add_troubles(out, status);
    buf_add_str(out, "<p>Next: ");
    add_text(out, text_of(status, "next"));
    if (int_of(status, "next_at") > 0) {
        buf_add_str(out, " at ");
        add_date(out, int_of(status, "next_at"));
    }
    buf_add_str(out, "</p></div>\n");
}

static void add_urls(struct buf *out, const json_t *urls)
{
    size_t n = json_array_size(urls);
    if (n == 0)
        return;
    buf_add_str(out, "<h2>Addresses</h2>\n<ul class=\"urls\">\n");
    for (size_t i = 0; i < n && i < URLS_SHOWN; i++) {
        const char *url = json_string_value(json_array_get(urls, i));
        if (url == NULL)
            continue;
        buf_add_str(out, "<li>");
        if (qrsvg_write(out, url) == ERR_NOMEM)
            return; /* the buffer's error is sticky */
        buf_add_str(out, "<a href=\"");
        add_text(out, url);
        buf_add_str(out, "\">");
        add_text(out, url);
        buf_add_str(out, "</a></li>\n");
    }
    buf_add_str(out, "</ul>\n");
}

/* Whoever can open this page may have the device shown to them elsewhere. */
static void add_pairing(struct buf *out, const json_t *pairing)
{
    const char *code = text_of(pairing, "code"), *error = text_of(pairing, "error");
    buf_add_str(out, "<h2>Pairing</h2>\n");
    if (code[0] != 0) {
        buf_add_str(out, "<p>Enter this code where you want to see the device, once, before ");
        add_date(out, int_of(pairing, "expires_at"));
        buf_add_str(out, ":</p>\n<p class=\"code\">");
        add_text(out, code);
        buf_add_str(out, "</p>\n");
    } else if (error[0] != 0) {
        buf_add_str(out, "<p>There is no code: ");
        add_text(out, error);
        buf_add_str(out, "</p>\n");
    } else {
        buf_add_str(out, "<p>With a code, somebody sees this device in a browser elsewhere: on the "
                         "companion page, or in the vendor's app.</p>\n");
    }
    buf_add_fmt(out, "<form method=\"post\" action=\"/pair\"><button>%s</button></form>\n",
                code[0] != 0 ? "Show another code" : "Show a code");
}

/* What to do about one resolver: the likeliest product open, the others folded. */
static void add_cure(struct buf *out, const json_t *cure, bool open)
{
    const json_t *steps = json_object_get(cure, "steps");
    const char *paste = text_of(cure, "paste");
    buf_add_fmt(out, "<details%s><summary>", open ? " open" : "");
    add_text(out, text_of(cure, "title"));
    buf_add_str(out, "</summary><ol>");
    for (size_t i = 0; i < json_array_size(steps); i++) {
        buf_add_str(out, "<li>");
        add_text(out, json_string_value(json_array_get(steps, i)));
        buf_add_str(out, "</li>");
    }
    buf_add_str(out, "</ol>");
    if (paste[0] != 0) {
        buf_add_str(out, "<pre>");
        add_text(out, paste);
        buf_add_str(out, "</pre>");
    }
    buf_add_str(out, "</details>\n");
}

static void add_resolver(struct buf *out, const json_t *r)
{
    const json_t *cures = json_object_get(r, "cures");
    bool good = strcmp(text_of(r, "class_v4"), "OK") == 0;
    size_t n = json_array_size(cures);
    buf_add_fmt(out, "<div class=\"state %s\"><strong>", n > 0 ? "bad" : good ? "good" : "wait");
    add_text(out, text_of(r, "address"));
    buf_add_str(out, "</strong> ");
    add_text(out, text_of(r, "text"));
    if (n > 0)
        buf_add_str(out, ". What to do depends on what it is; the likeliest comes first:\n");
    for (size_t i = 0; i < n; i++)
        add_cure(out, json_array_get(cures, i), i == 0);
    buf_add_str(out, "</div>\n");
}

static void add_resolvers(struct buf *out, const json_t *detail)
{
    const json_t *list = json_object_get(detail, "list");
    bool running = json_is_true(json_object_get(detail, "running"));
    if (!json_is_object(detail))
        return;
    buf_add_str(out, "<h2>Names in this network</h2>\n<p>");
    if (json_is_array(list)) {
        buf_add_str(out, json_array_size(list) > 0 ? "Of the resolvers here: " : "Nobody to ask: ");
        add_text(out, text_of(detail, "text"));
        buf_add_str(out, " (tested at ");
        add_date(out, int_of(detail, "checked_at"));
        buf_add_str(out, ").");
    }
    buf_add_fmt(out, "%s</p>\n", running ? " They are being tested now." : "");
    for (size_t i = 0; i < json_array_size(list); i++)
        add_resolver(out, json_array_get(list, i));
    if (!running)
        buf_add_str(out, "<form method=\"post\" action=\"/probe\">"
                         "<button>Test again</button></form>\n");
}

static void add_certificates(struct buf *out, const json_t *status)
{
    const json_t *cert = json_object_get(status, "certificate");
    const json_t *local = json_object_get(status, "local_certificate");
    const json_t *served = json_object_get(status, "served");
    buf_add_str(out, "<h2>Certificate</h2>\n<table>\n");
    if (json_is_object(cert)) {
        add_row(out, "Name", text_of(cert, "name"));
        add_row(out, "Issuer", text_of(cert, "issuer"));
        add_row(out, "Serial number", text_of(cert, "serial"));
        add_date_row(out, "Valid until", int_of(cert, "not_after"));
        add_date_row(out, "Renewal", int_of(cert, "renew_at"));
    } else {
        add_row(out, "Name", "none yet");
    }
    if (json_is_object(served))
        add_row(out, "Application", text_of(served, "text"));
    if (json_is_object(local)) {
        add_row(out, "Local key pin", text_of(local, "pin"));
        add_date_row(out, "Local until", int_of(local, "not_after"));
    }
    buf_add_str(out, "</table>\n");
}

static void add_network(struct buf *out, const json_t *status)
{
    const json_t *mapping = json_object_get(status, "port_mapping");
    const json_t *mdns = json_object_get(status, "mdns");
    if (!json_is_object(mapping) && !json_is_object(mdns))
        return;
    buf_add_str(out, "<h2>Network</h2>\n<table>\n");
    if (json_is_object(mapping))
        add_row(out, "Router's port", text_of(mapping, "text"));
    if (json_is_object(mdns))
        add_row(out, "mDNS", text_of(mdns, "text"));
    buf_add_str(out, "</table>\n");
}

static void add_events(struct buf *out, const struct events *events)
{
    const struct event_note *one = events_get(events, 0);
    if (one == NULL)
        return;
    buf_add_str(out, "<h2>Last events</h2>\n<table class=\"events\">\n");
    for (size_t i = 0; one != NULL; one = events_get(events, ++i)) {
        buf_add_str(out, "<tr><td class=\"t\">");
        add_date(out, one->at);
        buf_add_str(out, "</td><td>");
        add_text(out, one->text);
        buf_add_str(out, "</td></tr>\n");
    }
    buf_add_str(out, "</table>\n");
}

enum err page_render(struct buf *out, const json_t *status, const struct events *events)
{
    const char *called = text_of(status, "name"), *name = called[0] != 0 ? called : "This device";
    const json_t *resolvers = json_object_get(status, "resolvers");
    bool testing = json_is_true(json_object_get(resolvers, "running"));
    buf_add_fmt(out, "%s%d%s", HEAD, testing ? TESTING_REFRESH_S : REFRESH_S, TITLE);
    add_text(out, name);
    buf_add_str(out, STYLE);
    buf_add_str(out, "<main><h1>");
    add_text(out, name);
    buf_add_str(out, "</h1><div class=\"id\">");
    add_text(out, text_of(status, "id"));
    buf_add_str(out, "</div>\n");
    add_state(out, status);
    add_urls(out, json_object_get(status, "urls"));
    add_resolvers(out, resolvers);
    add_pairing(out, json_object_get(status, "pairing"));
    add_certificates(out, status);
    add_network(out, status);
    add_events(out, events);
    buf_add_str(out, "</main></body></html>\n");
    return buf_error(out);
}
