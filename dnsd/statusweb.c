#include "dnsd/statusweb.h"

#include <stdlib.h>
#include <string.h>

#include "common/net/httpd.h"
#include "common/net/metricweb.h"

struct statusweb {
    struct statusweb_parts parts;
    struct metricweb *metrics;
    struct httpd *public_;
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

enum err statusweb_new(struct statusweb **out, const struct statusweb_parts *parts)
{
    struct statusweb *w = calloc(1, sizeof *w);
    if (w == NULL)
        return ERR_NOMEM;
    w->parts = *parts;
    enum err e = ERR_OK;
    if (*parts->metrics_fd >= 0)
        e = metricweb_new(&w->metrics, parts->loop, parts->metrics_fd, parts->write_metrics,
                          parts->arg);
    if (e == ERR_OK && *parts->public_fd >= 0) {
        e = httpd_new(&w->public_, parts->loop, *parts->public_fd, NULL, &HTTPD_LIMITS_PAGES,
                      on_public_request, w);
        if (e == ERR_OK)
            *parts->public_fd = -1;
    }
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
    metricweb_free(w->metrics);
    httpd_free(w->public_);
    free(w);
}
