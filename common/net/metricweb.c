#include "common/net/metricweb.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/base/log.h"
#include "common/net/addr.h"
#include "common/net/cidr.h"
#include "common/net/httpd.h"

#define METRICS_MAX (4u << 20)

struct metricweb {
    struct httpd *httpd;
    void (*write)(struct buf *out, void *arg);
    void *arg;
};

static void respond_text(struct httpd_req *r, int status, const char *text)
{
    httpd_respond(r, status, "text/plain; charset=utf-8", span_str(text));
}

static void on_request(void *arg, struct httpd_req *r)
{
    struct metricweb *w = arg;
    struct buf text;
    if (strcmp(httpd_path(r), "/metrics") != 0) {
        respond_text(r, 404, "there is only /metrics here\n");
        return;
    }
    if (strcmp(httpd_method(r), "GET") != 0 && strcmp(httpd_method(r), "HEAD") != 0) {
        httpd_add_header(r, "Allow", "GET, HEAD");
        respond_text(r, 405, "only GET and HEAD\n");
        return;
    }
    buf_init(&text, METRICS_MAX);
    w->write(&text, w->arg);
    if (buf_error(&text) != ERR_OK)
        respond_text(r, 500, "the page does not fit\n");
    else
        httpd_respond(r, 200, "text/plain; version=0.0.4; charset=utf-8", buf_span(&text));
    buf_clear(&text);
}

/* The page has no password, and says how large the fleet is. */
static void warn_if_public(int fd)
{
    static const char *const OWN[] = { "127.0.0.0/8",    "10.0.0.0/8",    "172.16.0.0/12",
                                       "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16",
                                       "::1/128",        "fc00::/7",      "fe80::/10" };
    struct addr a = { .len = sizeof a.ss };
    struct cidr net;
    char text[ADDR_TEXT_MAX];
    if (getsockname(fd, (struct sockaddr *)&a.ss, &a.len) != 0)
        return;
    for (size_t i = 0; i < ARRAY_LEN(OWN); i++) {
        if (cidr_parse(&net, OWN[i], NULL) == ERR_OK &&
            cidr_contains(&net, (const struct sockaddr *)&a.ss))
            return;
    }
    addr_format(&a, text);
    log_warn("metrics are at %s, which others may reach: take a loopback or private address", text);
}

enum err metricweb_new(struct metricweb **out, struct loop *l, int *fd,
                       void (*write)(struct buf *out, void *arg), void *arg)
{
    struct metricweb *w = calloc(1, sizeof *w);
    if (w == NULL)
        return ERR_NOMEM;
    w->write = write;
    w->arg = arg;
    enum err e = httpd_new(&w->httpd, l, *fd, NULL, &HTTPD_LIMITS_PAGES, on_request, w);
    if (e != ERR_OK) {
        free(w);
        return e;
    }
    warn_if_public(*fd);
    *fd = -1;
    *out = w;
    return ERR_OK;
}

void metricweb_free(struct metricweb *w)
{
    if (w == NULL)
        return;
    httpd_free(w->httpd);
    free(w);
}
