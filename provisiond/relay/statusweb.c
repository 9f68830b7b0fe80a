#include "provisiond/relay/statusweb.h"

#include <stdlib.h>
#include <string.h>

#include "common/net/httpd.h"
#include "provisiond/relay/exposition.h"

#define METRICS_MAX (1u << 20)

struct statusweb {
    struct httpd *httpd;
    const struct hub *hub;
};

static void respond_text(struct httpd_req *r, int status, const char *text)
{
    httpd_respond(r, status, "text/plain; charset=utf-8", span_str(text));
}

static void respond_metrics(const struct statusweb *w, struct httpd_req *r)
{
    struct buf text;
    buf_init(&text, METRICS_MAX);
    exposition_write(&text, w->hub);
    if (buf_error(&text) != ERR_OK)
        respond_text(r, 500, "the page does not fit\n");
    else
        httpd_respond(r, 200, "text/plain; version=0.0.4; charset=utf-8", buf_span(&text));
    buf_clear(&text);
}

static void on_request(void *arg, struct httpd_req *r)
{
    const struct statusweb *w = arg;
    const char *path = httpd_path(r);
    httpd_add_header(r, "Cache-Control", "no-store");
    if (strcmp(httpd_method(r), "GET") != 0 && strcmp(httpd_method(r), "HEAD") != 0) {
        httpd_add_header(r, "Allow", "GET, HEAD");
        respond_text(r, 405, "only GET and HEAD\n");
    } else if (strcmp(path, "/metrics") == 0) {
        respond_metrics(w, r);
    } else if (strcmp(path, "/healthz") == 0) {
        respond_text(r, 200, "ok\n"); /* the loop answers: that is all there is to it */
    } else if (strcmp(path, "/readyz") == 0) {
        respond_text(r, w->hub->draining ? 503 : 200, w->hub->draining ? "stopping\n" : "ok\n");
    } else {
        respond_text(r, 404, "there is only /metrics, /healthz and /readyz here\n");
    }
}

enum err statusweb_new(struct statusweb **out, struct loop *l, int *fd, const struct hub *h)
{
    struct statusweb *w = calloc(1, sizeof *w);
    if (w == NULL)
        return ERR_NOMEM;
    w->hub = h;
    enum err e = httpd_new(&w->httpd, l, *fd, NULL, &HTTPD_LIMITS_PAGES, on_request, w);
    if (e != ERR_OK) {
        free(w);
        return e;
    }
    *fd = -1;
    *out = w;
    return ERR_OK;
}

void statusweb_free(struct statusweb *w)
{
    if (w == NULL)
        return;
    httpd_free(w->httpd);
    free(w);
}
