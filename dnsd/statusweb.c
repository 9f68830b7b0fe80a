#include "dnsd/statusweb.h"

#include <stdlib.h>
#include <string.h>

#include "common/net/httpd.h"

#define METRICS_MAX (4u << 20)

/* Small pages for few clients. */
static const struct httpd_limits LIMITS = { .body_max = 1024,
                                            .head_max = 8192,
                                            .request_ms = 5000,
                                            .idle_ms = 15000,
                                            .write_ms = 10000,
                                            .handler_ms = 5000,
                                            .connections_max = 64,
                                            .per_prefix_max = 32 };

struct statusweb {
    struct statusweb_parts parts;
    struct httpd *metrics, *public_;
};

static void respond_text(struct httpd_req *r, int status, const char *text)
{
    httpd_respond(r, status, "text/plain; charset=utf-8", span_str(text));
}

static bool is_get(const struct httpd_req *r)
{
    return strcmp(httpd_method(r), "GET") == 0 || strcmp(httpd_method(r), "HEAD") == 0;
}

static void refuse_method(struct httpd_req *r)
{
    httpd_add_header(r, "Allow", "GET, HEAD");
    respond_text(r, 405, "only GET and HEAD\n");
}

static void on_metrics_request(void *arg, struct httpd_req *r)
{
    struct statusweb *w = arg;
    struct buf text;
    if (strcmp(httpd_path(r), "/metrics") != 0) {
        respond_text(r, 404, "there is only /metrics here\n");
        return;
    }
    if (!is_get(r)) {
        refuse_method(r);
        return;
    }
    buf_init(&text, METRICS_MAX);
    w->parts.write_metrics(&text, w->parts.arg);
    if (buf_error(&text) != ERR_OK)
        respond_text(r, 500, "the page does not fit\n");
    else
        httpd_respond(r, 200, "text/plain; version=0.0.4; charset=utf-8", buf_span(&text));
    buf_clear(&text);
}

static void on_public_request(void *arg, struct httpd_req *r)
{
    struct statusweb *w = arg;
    const char *why;
    bool health = strcmp(httpd_path(r), "/healthz") == 0;
    if (!health && strcmp(httpd_path(r), "/readyz") != 0) {
        respond_text(r, 404, "there is only /healthz and /readyz here\n");
        return;
    }
    if (!is_get(r)) {
        refuse_method(r);
        return;
    }
    httpd_add_header(r, "Cache-Control", "no-store");
    if (health)
        why = health_is_alive(w->parts.health) ? NULL : "a thread hangs";
    else
        why = health_not_ready(w->parts.health);
    respond_text(r, why == NULL ? 200 : 503, why == NULL ? "ok\n" : why);
}

/* A server on *fd, if there is one. */
static enum err serve(struct statusweb *w, struct httpd **out, int *fd, httpd_handler *fn)
{
    if (*fd < 0)
        return ERR_OK;
    enum err e = httpd_new(out, w->parts.loop, *fd, NULL, &LIMITS, fn, w);
    if (e == ERR_OK)
        *fd = -1;
    return e;
}

enum err statusweb_new(struct statusweb **out, const struct statusweb_parts *parts)
{
    struct statusweb *w = calloc(1, sizeof *w);
    if (w == NULL)
        return ERR_NOMEM;
    w->parts = *parts;
    enum err e = serve(w, &w->metrics, parts->metrics_fd, on_metrics_request);
    if (e == ERR_OK)
        e = serve(w, &w->public_, parts->public_fd, on_public_request);
    if (e != ERR_OK) {
        statusweb_free(w);
        return e;
    }
    *out = w;
    return ERR_OK;
}

void statusweb_free(struct statusweb *w)
{
    if (w == NULL)
        return;
    httpd_free(w->metrics);
    httpd_free(w->public_);
    free(w);
}
