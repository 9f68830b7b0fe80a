#include "agent/web.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/core/hosthdr.h"
#include "agent/core/neighbour.h"
#include "agent/hello.h"
#include "agent/interfaces.h"
#include "agent/page.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/net/httpd.h"

#define HELLO_BODY_MAX 2048
#define PROBE_EVERY_MS 10000

struct page_listener {
    struct httpd *httpd; /* NULL: waits for a certificate */
    int fd;              /* while it waits; -1 then */
    bool secure;
};

struct web {
    struct web_parts parts;
    char name[256];    /* of the host */
    int64_t probed_ms; /* monotonic; 0: never */
    size_t n_listeners;
    struct page_listener listeners[WEB_LISTENERS_MAX];
    struct httpd_req *pairing_req; /* NULL: nobody waits for a code */
};

/* No script runs, nothing is fetched from elsewhere, nobody frames it. */
static const char POLICY[] = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; "
                             "form-action 'self'; frame-ancestors 'none'";

static void answer_hello(struct web *w, struct httpd_req *req)
{
    char nonce[HELLO_NONCE_MAX + 2] = "";
    struct buf body;
    bool asked = httpd_query(req)[0] != 0;
    httpd_add_header(req, "Access-Control-Allow-Origin", "*");
    httpd_add_header(req, "Cache-Control", "no-store");
    if (asked && (!httpd_query_get(req, "nonce", nonce, sizeof nonce) || !hello_is_nonce(nonce))) {
        httpd_problem(req, 400, "bad-nonce", "nonce has 16 to 86 characters of base64url", 0);
        return;
    }
    buf_init(&body, HELLO_BODY_MAX);
    if (hello_make(&body, w->parts.identity, w->name, nonce, clock_now_s()) == ERR_OK)
        httpd_respond(req, 200, "application/json", buf_span(&body));
    else
        httpd_problem(req, 500, NULL, "out of memory", 0);
    buf_clear(&body);
}

static void answer_page(struct web *w, struct httpd_req *req)
{
    struct buf body;
    buf_init(&body, PAGE_MAX);
    json_t *status = w->parts.status(w->parts.arg);
    httpd_add_header(req, "Content-Security-Policy", POLICY);
    httpd_add_header(req, "X-Content-Type-Options", "nosniff");
    /* with no-referrer, browsers would hide the origin of the page's own form, too */
    httpd_add_header(req, "Referrer-Policy", "same-origin");
    httpd_add_header(req, "Cache-Control", "no-store");
    if (status != NULL && page_render(&body, status, w->parts.events) == ERR_OK)
        httpd_respond(req, 200, "text/html; charset=utf-8", buf_span(&body));
    else
        httpd_problem(req, 500, NULL, "the page is larger than it may be", 0);
    json_decref(status);
    buf_clear(&body);
}

/* Back to the page, which shows what came of it. [RFC 9110 s15.4.4] */
static void answer_see_page(struct httpd_req *req)
{
    httpd_add_header(req, "Location", "/");
    httpd_add_header(req, "Cache-Control", "no-store");
    httpd_respond(req, 303, NULL, (struct span){ NULL, 0 });
}

static void on_paired(void *arg, bool ok, const char *text)
{
    struct web *w = arg;
    struct httpd_req *req = w->pairing_req;
    (void)ok;
    (void)text;
    w->pairing_req = NULL;
    if (req != NULL)
        answer_see_page(req);
}

static void on_pairing_gone(void *arg)
{
    struct web *w = arg;
    w->pairing_req = NULL;
    pairing_leave(w->parts.pairing, w);
}

/* The button of our own page, not of another site's. [Fetch Standard s3.2] */
static bool is_own_button(const struct httpd_req *req)
{
    const char *origin = httpd_header(req, "Origin"), *host = httpd_header(req, "Host");
    const char *place = origin != NULL ? strstr(origin, "://") : NULL;
    return origin == NULL || (place != NULL && host != NULL && strcmp(place + 3, host) == 0);
}

static void answer_pair(struct web *w, struct httpd_req *req)
{
    if (w->pairing_req != NULL) {
        answer_see_page(req); /* it is being made for another one */
        return;
    }
    w->pairing_req = req;
    httpd_on_gone(req, on_pairing_gone, w);
    if (pairing_ask(w->parts.pairing, on_paired, w) != ERR_OK) {
        w->pairing_req = NULL;
        answer_see_page(req);
    }
}

static void answer_probe(struct web *w, struct httpd_req *req)
{
    int64_t now_ms = clock_mono_ms(), since_ms = now_ms - w->probed_ms;
    if (w->probed_ms != 0 && since_ms < PROBE_EVERY_MS) {
        httpd_problem(req, 429, "too-soon", "it was tested a moment ago",
                      (PROBE_EVERY_MS - since_ms) / 1000 + 1);
        return;
    }
    w->probed_ms = now_ms;
    w->parts.test_again(w->parts.arg);
    answer_see_page(req);
}

/* Of a public address the kernel is asked each time: networks come and go. */
static bool is_neighbour(const struct httpd_req *req)
{
    struct worth_address own[INTERFACES_MAX];
    struct ip peer;
    if (!neighbour_ip(&peer, addr_ip((const struct sockaddr *)&httpd_peer(req)->ss)))
        return false;
    return neighbour_by_range(&peer) ||
           neighbour_by_link(&peer, own, interfaces_list(own, INTERFACES_MAX));
}

static void on_request(void *arg, struct httpd_req *req)
{
    struct web *w = arg;
    const char *method = httpd_method(req), *path = httpd_path(req);
    bool hello = strcmp(path, "/v1/hello") == 0;
    bool pair = strcmp(path, "/pair") == 0, probe = strcmp(path, "/probe") == 0;
    bool button = pair || probe, post = strcmp(method, "POST") == 0;
    bool get = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
    /* the greeting says the same to everybody; the page is for who is near and means this device */
    if (!hello && !is_neighbour(req))
        httpd_problem(req, 403, "not-near", "this page is for the device's own network only", 0);
    else if (!hello && !hosthdr_is_ours(httpd_header(req, "Host"), w->parts.suffix))
        httpd_problem(req, 421, "not-this-host", "this device does not go by that name", 0);
    else if (!hello && !button && strcmp(path, "/") != 0)
        httpd_problem(req, 404, "not-found", "there is / and /v1/hello", 0);
    else if (button ? !post : !get) {
        httpd_add_header(req, "Allow", button ? "POST" : "GET, HEAD");
        httpd_problem(req, 405, "method", "this page does not know that method", 0);
    } else if (button && !is_own_button(req)) {
        httpd_problem(req, 403, "origin", "only this page's own button does that", 0);
    } else if (hello)
        answer_hello(w, req);
    else if (pair)
        answer_pair(w, req);
    else if (probe)
        answer_probe(w, req);
    else
        answer_page(w, req);
}

enum err web_new(struct web **out, const struct web_parts *parts)
{
    struct web *w = calloc(1, sizeof *w);
    if (w == NULL)
        return ERR_NOMEM;
    w->parts = *parts;
    if (gethostname(w->name, sizeof w->name - 1) != 0 || w->name[0] == 0)
        memcpy(w->name, "device", 7);
    w->name[strcspn(w->name, ".")] = 0;
    *out = w;
    return ERR_OK;
}

enum err web_listen(struct web *w, int fd, bool secure)
{
    struct page_listener l = { .fd = secure ? fd : -1, .secure = secure };
    if (w->n_listeners == WEB_LISTENERS_MAX)
        return ERR_LIMIT;
    if (!secure) {
        enum err e =
            httpd_new(&l.httpd, w->parts.loop, fd, NULL, &HTTPD_LIMITS_PAGES, on_request, w);
        if (e != ERR_OK)
            return e;
    }
    w->listeners[w->n_listeners++] = l;
    return ERR_OK;
}

void web_set_tls(struct web *w, SSL_CTX *tls)
{
    for (size_t i = 0; i < w->n_listeners; i++) {
        struct page_listener *l = &w->listeners[i];
        if (!l->secure)
            continue;
        if (l->httpd != NULL)
            httpd_set_tls(l->httpd, tls);
        else if (httpd_new(&l->httpd, w->parts.loop, l->fd, tls, &HTTPD_LIMITS_PAGES, on_request,
                           w) == ERR_OK)
            l->fd = -1;
        else
            log_error("the device's page is not served: out of memory");
    }
}

void web_free(struct web *w)
{
    if (w == NULL)
        return;
    for (size_t i = 0; i < w->n_listeners; i++) {
        httpd_free(w->listeners[i].httpd);
        if (w->listeners[i].fd >= 0)
            close(w->listeners[i].fd);
    }
    free(w);
}
