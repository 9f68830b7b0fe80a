#include "provisiond/publicweb.h"

#include <stdio.h>
#include <string.h>

#define READY_MAX 65536

enum rule {
    RULE_NONE = 0, /* forgotten: the program does not start */
    RULE_ANYBODY,  /* no secret in the answer, nothing changed by the request, cheap */
};

struct route {
    const char *method, *path;
    enum rule rule;
    void (*fn)(const struct publicweb *w, struct httpd_req *r);
};

/* A page may see that it can be reached: the static name hub.ZONE leads here, and so tells a zone
 * that is blocked from a device that is off. */
static void get_healthz(const struct publicweb *w, struct httpd_req *r)
{
    bool alive = health_is_alive(w->health);
    httpd_add_header(r, "Access-Control-Allow-Origin", "*");
    httpd_add_header(r, "Cache-Control", "no-store");
    httpd_respond(r, alive ? 200 : 503, "text/plain; charset=utf-8",
                  span_str(alive ? "alive\n" : "a database thread does not answer\n"));
}

static void get_readyz(const struct publicweb *w, struct httpd_req *r)
{
    struct buf body;
    buf_init(&body, READY_MAX);
    bool ready = health_write_ready(w->health, &body);
    httpd_add_header(r, "Cache-Control", "no-store");
    if (buf_error(&body) != ERR_OK)
        httpd_problem(r, 503, "unavailable", "out of memory: try again", 10);
    else
        httpd_respond(r, ready ? 200 : 503, "application/json", buf_span(&body));
    buf_clear(&body);
}

static const struct route ROUTES[] = {
    { "GET", "/healthz", RULE_ANYBODY, get_healthz },
    { "GET", "/readyz", RULE_ANYBODY, get_readyz },
};

enum err publicweb_check(struct err_info *info)
{
    for (size_t i = 0; i < ARRAY_LEN(ROUTES); i++) {
        if (ROUTES[i].rule == RULE_NONE)
            return err_set(info, ERR_ILLEGAL, "route %s has no rule of who may call it: a defect",
                           ROUTES[i].path);
    }
    return ERR_OK;
}

/* HEAD is GET without the body, which httpd leaves out. */
static bool has_method(const struct route *route, const char *method)
{
    return strcmp(route->method, method) == 0 ||
           (strcmp(route->method, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

void publicweb_on_request(void *web, struct httpd_req *r)
{
    const struct publicweb *w = web;
    char allow[64] = "";
    if (discovery_has(r)) {
        discovery_on_request(w->discovery, r);
        return;
    }
    if (pagefiles_has(r)) {
        pagefiles_on_request(w->companion, r);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(ROUTES); i++) {
        if (strcmp(ROUTES[i].path, httpd_path(r)) != 0)
            continue;
        if (has_method(&ROUTES[i], httpd_method(r))) {
            ROUTES[i].fn(w, r);
            return;
        }
        size_t len = strlen(allow);
        (void)snprintf(allow + len, sizeof allow - len, "%s%s%s", len > 0 ? ", " : "",
                       ROUTES[i].method, strcmp(ROUTES[i].method, "GET") == 0 ? ", HEAD" : "");
    }
    if (allow[0] != 0) {
        httpd_add_header(r, "Allow", allow); /* [RFC 9110 s15.5.6] */
        httpd_problem(r, 405, "method", "this resource does not know that method", 0);
    } else {
        httpd_problem(r, 404, "no-such-resource", "there is nothing at this path", 0);
    }
}
