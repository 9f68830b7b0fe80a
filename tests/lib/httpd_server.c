/* httpd_server.c - a program around common/net/httpd for tests/integration/test_httpd.py.
 *
 *     httpd_server [plain|anonymous|anykey] [cert=FILE key=FILE] [LIMIT=NUMBER]...
 *
 * Prints "port N", then a line for each thing that happens: "request METHOD PATH", "gone PATH",
 * "drained". Ends on SIGTERM by a drain. */
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/net/httpd.h"
#include "common/net/listen.h"
#include "common/net/loop.h"
#include "common/net/tls.h"
#include "common/pki/cert.h"
#include "common/pki/devid.h"
#include "common/pki/key.h"
#include "common/base/file.h"

#define GRACE_MS 1500
#define HELD_MAX 64

struct server {
    struct loop *loop;
    struct httpd *httpd;
    struct httpd_req *held[HELD_MAX]; /* NULL: free */
};

struct held {
    struct server *server;
    int at;
};

static struct held helds[HELD_MAX];

static void say(const char *what, const char *a, const char *b)
{
    printf("%s %s %s\n", what, a, b);
    (void)fflush(stdout);
}

static void on_gone(void *arg)
{
    struct held *h = arg;
    say("gone", httpd_path(h->server->held[h->at]), "");
    h->server->held[h->at] = NULL;
}

static void hold(struct server *s, struct httpd_req *req)
{
    for (int i = 0; i < HELD_MAX; i++) {
        if (s->held[i] == NULL) {
            s->held[i] = req;
            helds[i] = (struct held){ s, i };
            httpd_on_gone(req, on_gone, &helds[i]);
            return;
        }
    }
    httpd_problem(req, 503, "full", "too many are held", 7);
}

static void release(struct server *s)
{
    for (int i = 0; i < HELD_MAX; i++) {
        struct httpd_req *req = s->held[i];
        s->held[i] = NULL;
        if (req != NULL)
            httpd_respond(req, 200, "text/plain", span_str("released"));
    }
}

static void respond_echo(struct httpd_req *req)
{
    struct devid id = { "" };
    EVP_PKEY *key = httpd_peer_key(req);
    if (key != NULL && devid_from_key(&id, key) != ERR_OK)
        abort();
    char text[1024], wait[16] = "";
    (void)httpd_query_get(req, "wait", wait, sizeof wait);
    const char *mark = httpd_header(req, "x-mark");
    (void)snprintf(text, sizeof text,
                   "{\"method\":\"%s\",\"path\":\"%s\",\"query\":\"%s\",\"body_len\":%zu,"
                   "\"id\":\"%s\",\"wait\":\"%s\",\"mark\":\"%s\"}",
                   httpd_method(req), httpd_path(req), httpd_query(req), httpd_body(req).len,
                   id.text, wait, mark != NULL ? mark : "");
    httpd_add_header(req, "X-Good", "yes");
    httpd_add_header(req, "X-Bad", "a\r\nX-Evil: 1");
    httpd_respond(req, 200, "application/json", span_str(text));
}

static void respond_big(struct httpd_req *req)
{
    char text[16] = "";
    if (!httpd_query_get(req, "n", text, sizeof text)) {
        httpd_problem(req, 400, "no-size", "say how many with n=", 0);
        return;
    }
    size_t n = strtoul(text, NULL, 10);
    uint8_t *p = malloc(n + 1);
    if (p == NULL)
        abort();
    memset(p, 'x', n);
    httpd_respond(req, 200, "text/plain", (struct span){ p, n });
    free(p);
}

static void handle(void *arg, struct httpd_req *req)
{
    struct server *s = arg;
    const char *path = httpd_path(req);
    say("request", httpd_method(req), path);
    if (strcmp(path, "/hold") == 0) {
        hold(s, req);
    } else if (strcmp(path, "/release") == 0) {
        release(s);
        httpd_respond(req, 204, NULL, (struct span){ NULL, 0 });
    } else if (strcmp(path, "/big") == 0) {
        respond_big(req);
    } else if (strcmp(path, "/problem") == 0) {
        httpd_problem(req, 409, "no-luck", "a \"quoted\" reason", 5);
    } else {
        respond_echo(req);
    }
}

static void on_drained(void *arg)
{
    struct server *s = arg;
    say("drained", "", "");
    loop_stop(s->loop);
}

static void on_term(void *arg)
{
    struct server *s = arg;
    httpd_drain(s->httpd, GRACE_MS, on_drained, s);
}

static void set_limit(struct httpd_limits *l, const char *name, int64_t v)
{
    const struct {
        const char *name;
        int64_t *ms;
        size_t *n;
    } all[] = {
        { "body_max", NULL, &l->body_max },
        { "head_max", NULL, &l->head_max },
        { "request_ms", &l->request_ms, NULL },
        { "idle_ms", &l->idle_ms, NULL },
        { "write_ms", &l->write_ms, NULL },
        { "handler_ms", &l->handler_ms, NULL },
        { "connections_max", NULL, &l->connections_max },
        { "per_prefix_max", NULL, &l->per_prefix_max },
    };
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        if (strcmp(all[i].name, name) != 0)
            continue;
        if (all[i].ms != NULL)
            *all[i].ms = v;
        else
            *all[i].n = (size_t)v;
        return;
    }
    fprintf(stderr, "no limit '%s'\n", name);
    exit(2);
}

static void check(enum err e, const struct err_info *info)
{
    if (e != ERR_OK) {
        fprintf(stderr, "%s: %s\n", err_name(e), info->text);
        exit(1);
    }
}

static SSL_CTX *load_tls(const char *mode, const char *cert, const char *key)
{
    struct err_info info = { "" };
    STACK_OF(X509) *chain = NULL;
    EVP_PKEY *pkey = NULL;
    SSL_CTX *tls = NULL;
    struct buf pem;
    buf_init(&pem, CERT_PEM_MAX);
    check(file_read(cert, &pem, &info), &info);
    check(cert_chain_parse(&chain, buf_span(&pem), &info), &info);
    check(key_load(&pkey, key, &info), &info);
    check(tls_server_new(&tls, NULL, pkey, chain,
                         strcmp(mode, "anykey") == 0 ? TLS_PEER_ANY_KEY : TLS_PEER_ANONYMOUS,
                         "http/1.1", &info),
          &info);
    buf_clear(&pem);
    EVP_PKEY_free(pkey);
    sk_X509_pop_free(chain, X509_free);
    return tls;
}

static int open_port(void)
{
    struct err_info info = { "" };
    struct addr a;
    int fd;
    check(addr_parse(&a, "127.0.0.1:0", &info), &info);
    check(listen_tcp(&fd, &a, false, &info), &info);
    a.len = sizeof a.ss;
    if (getsockname(fd, (struct sockaddr *)&a.ss, &a.len) != 0)
        abort();
    printf("port %u\n", (unsigned)ntohs(((const struct sockaddr_in *)&a.ss)->sin_port));
    (void)fflush(stdout);
    return fd;
}

int main(int argc, char **argv)
{
    struct server s = { .loop = NULL };
    struct httpd_limits limits = HTTPD_LIMITS_DEFAULT;
    const char *mode = argc > 1 ? argv[1] : "plain", *cert = "", *key = "";
    log_init("httpd_server", LOG_LEVEL_INFO);
    for (int i = 2; i < argc; i++) {
        char *eq = strchr(argv[i], '=');
        if (eq == NULL)
            return 2;
        *eq = 0;
        if (strcmp(argv[i], "cert") == 0)
            cert = eq + 1;
        else if (strcmp(argv[i], "key") == 0)
            key = eq + 1;
        else
            set_limit(&limits, argv[i], atoll(eq + 1));
    }
    SSL_CTX *tls = strcmp(mode, "plain") != 0 ? load_tls(mode, cert, key) : NULL;
    struct loop_signal *term = NULL;
    check(loop_new(&s.loop), &(struct err_info){ "loop" });
    check(loop_signal_new(&term, s.loop, SIGTERM, on_term, &s), &(struct err_info){ "signal" });
    check(httpd_new(&s.httpd, s.loop, open_port(), tls, &limits, handle, &s),
          &(struct err_info){ "httpd" });
    SSL_CTX_free(tls); /* the server has its own reference */
    loop_run(s.loop);
    httpd_free(s.httpd);
    loop_signal_free(term);
    loop_free(s.loop);
    return 0;
}
