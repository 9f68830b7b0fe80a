/* fetch against our own httpd, and against peers that are worse, all in one loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/net/fetch.h"
#include "common/net/httpd.h"
#include "common/net/listen.h"
#include "common/net/tls.h"
#include "common/pki/devid.h"
#include "common/pki/key.h"
#include "tests/lib/testcert.h"

#define GUARD_MS 120000 /* a test that has not ended by then has failed */

struct fix {
    struct loop *loop;
    struct loop_timer *guard;
    EVP_PKEY *key, *client_key;
    X509 *cert, *client_cert;
    STACK_OF(X509) * chain;
    SSL_CTX *tls;
    struct httpd *httpd;
    struct fetch *fetch;
    unsigned port;
    char ca[64];
    struct httpd_req *held;
    unsigned n_gone, n_handled;
    /* what the callback saw */
    unsigned n_done, n_wanted;
    enum err e;
    int status, fd;
    char text[512], body[512], retry[64], etag[64];
    int64_t wait_s;
    struct fetch_op *other; /* cancelled in the callback */
};

static void on_gone(void *arg)
{
    struct fix *fx = arg;
    fx->n_gone++;
    fx->held = NULL;
    if (fx->n_wanted == 0)
        loop_stop(fx->loop);
}

static void handle(void *arg, struct httpd_req *req)
{
    struct fix *fx = arg;
    const char *path = httpd_path(req);
    char text[256] = "-";
    fx->n_handled++;
    if (strcmp(path, "/hold") == 0) {
        fx->held = req;
        httpd_on_gone(req, on_gone, fx);
        return;
    }
    if (strcmp(path, "/busy") == 0) {
        httpd_problem(req, 503, "busy", "come later", 9);
        return;
    }
    if (strcmp(path, "/peer") == 0) {
        addr_format(httpd_peer(req), text);
    } else if (strcmp(path, "/id") == 0) {
        struct devid id;
        EVP_PKEY *key = httpd_peer_key(req);
        if (key != NULL && devid_from_key(&id, key) == ERR_OK)
            (void)snprintf(text, sizeof text, "%s", id.text);
    } else {
        const char *type = httpd_header(req, "content-type");
        (void)snprintf(text, sizeof text, "%s %s %zu %s %s", httpd_method(req), path,
                       httpd_body(req).len, type != NULL ? type : "-",
                       httpd_header(req, "user-agent"));
    }
    httpd_add_header(req, "ETag", "first");
    httpd_add_header(req, "Etag", "  last ");
    if (strcmp(path, "/moved") == 0) {
        httpd_add_header(req, "Location", "/elsewhere");
        httpd_respond(req, 302, "text/plain", span_str(text));
    } else {
        httpd_respond(req, 200, "text/plain", span_str(text));
    }
}

static void on_guard(void *arg)
{
    (void)arg;
    fprintf(stderr, "the test did not end\n");
    abort();
}

static unsigned port_of(int fd)
{
    struct sockaddr_in sin;
    socklen_t len = sizeof sin;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
    return ntohs(sin.sin_port);
}

static int listener(void)
{
    struct addr a;
    int fd;
    assert_int_equal(addr_parse(&a, "127.0.0.1:0", NULL), ERR_OK);
    assert_int_equal(listen_tcp(&fd, &a, false, NULL), ERR_OK);
    return fd;
}

static int set_up(void **state)
{
    struct fix *fx = calloc(1, sizeof *fx);
    assert_non_null(fx);
    assert_int_equal(loop_new(&fx->loop), ERR_OK);
    assert_int_equal(loop_timer_new(&fx->guard, fx->loop, on_guard, fx), ERR_OK);
    loop_timer_set(fx->guard, GUARD_MS);
    assert_int_equal(key_new(&fx->key, KEY_P256), ERR_OK);
    assert_int_equal(key_new(&fx->client_key, KEY_P256), ERR_OK);
    fx->cert = testcert_new(fx->key, "IP:127.0.0.1", -60, 3600);
    fx->client_cert = testcert_new(fx->client_key, "DNS:device", -60, 3600);
    fx->chain = sk_X509_new_null();
    sk_X509_push(fx->chain, fx->cert);
    assert_int_equal(
        tls_server_new(&fx->tls, NULL, fx->key, fx->chain, TLS_PEER_ANY_KEY, "http/1.1", NULL),
        ERR_OK);
    int fd = listener();
    fx->port = port_of(fd);
    assert_int_equal(httpd_new(&fx->httpd, fx->loop, fd, fx->tls, NULL, handle, fx), ERR_OK);
    strcpy(fx->ca, "/tmp/lanyard-fetch-XXXXXX");
    int ca = mkstemp(fx->ca);
    assert_true(ca >= 0);
    close(ca);
    testcert_write(fx->cert, fx->ca);
    struct fetch_options o = { .user_agent = "test/1",
                               .ca_file = fx->ca,
                               .client_key = fx->client_key,
                               .client_cert = fx->client_cert,
                               .tls13_only = true };
    assert_int_equal(fetch_new(&fx->fetch, fx->loop, &o, NULL), ERR_OK);
    *state = fx;
    return 0;
}

static int tear_down(void **state)
{
    struct fix *fx = *state;
    fetch_free(fx->fetch);
    httpd_free(fx->httpd);
    loop_timer_free(fx->guard);
    loop_free(fx->loop);
    SSL_CTX_free(fx->tls);
    sk_X509_free(fx->chain);
    X509_free(fx->cert);
    X509_free(fx->client_cert);
    EVP_PKEY_free(fx->key);
    EVP_PKEY_free(fx->client_key);
    (void)unlink(fx->ca);
    free(fx);
    return 0;
}

static void on_done(void *arg, const struct fetch_result *res)
{
    struct fix *fx = arg;
    fx->n_done++;
    fx->e = res->e;
    fx->status = res->status;
    fx->fd = res->fd;
    (void)snprintf(fx->text, sizeof fx->text, "%s", res->info.text);
    (void)snprintf(fx->body, sizeof fx->body, "%.*s", (int)res->body.len,
                   res->body.p != NULL ? (const char *)res->body.p : "");
    const char *retry = fetch_header(res, "retry-after"), *etag = fetch_header(res, "ETAG");
    (void)snprintf(fx->retry, sizeof fx->retry, "%s", retry != NULL ? retry : "");
    (void)snprintf(fx->etag, sizeof fx->etag, "%s", etag != NULL ? etag : "");
    fx->wait_s = fetch_retry_after(res, 1000, 60, 5);
    fetch_cancel(fx->other);
    fx->other = NULL;
    if (fx->n_done == fx->n_wanted)
        loop_stop(fx->loop);
}

static struct fetch_request request(const struct fix *fx, char *url, size_t cap, const char *path)
{
    (void)snprintf(url, cap, "https://127.0.0.1:%u%s", fx->port, path);
    return (
        struct fetch_request){ .method = "GET", .url = url, .body_max = 4096, .timeout_ms = 10000 };
}

static void start(struct fix *fx, const struct fetch_request *r, struct fetch_op **op)
{
    unsigned before = fx->n_done;
    assert_int_equal(fetch_start(fx->fetch, r, on_done, fx, op), ERR_OK);
    assert_int_equal(fx->n_done, before); /* never from inside fetch_start() */
}

static void run_one(struct fix *fx, const struct fetch_request *r)
{
    fx->n_wanted = fx->n_done + 1;
    start(fx, r, NULL);
    loop_run(fx->loop);
}

static void test_methods(void **state)
{
    static const struct {
        const char *why, *method, *body;
        const char *headers[2];
        const char *want;
    } CASES[] = {
        { "no body, no type", "GET", "", { NULL }, "GET /x 0 - test/1" },
        { "an empty POST is not chunked", "POST", "", { NULL }, "POST /x 0 - test/1" },
        { "a body is not called a form", "POST", "abc", { NULL }, "POST /x 3 - test/1" },
        { "the caller's type goes through",
          "POST",
          "abc",
          { "Content-Type: a/b", NULL },
          "POST /x 3 a/b test/1" },
        { "PUT has a body too", "PUT", "abcd", { NULL }, "PUT /x 4 - test/1" },
        { "DELETE without a body", "DELETE", "", { NULL }, "DELETE /x 0 - test/1" },
        { "HEAD has none in the answer", "HEAD", "", { NULL }, "" },
    };
    struct fix *fx = *state;
    char url[128];
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct fetch_request r = request(fx, url, sizeof url, "/x");
        r.method = CASES[i].method;
        r.body = span_str(CASES[i].body);
        r.headers = CASES[i].headers;
        run_one(fx, &r);
        if (fx->e != ERR_OK || fx->status != 200 || strcmp(fx->body, CASES[i].want) != 0)
            fail_msg("%s: %s %s, %d '%s'", CASES[i].why, err_name(fx->e), fx->text, fx->status,
                     fx->body);
    }
}

static void test_client_key(void **state)
{
    struct fix *fx = *state;
    char url[128];
    struct devid id;
    assert_int_equal(devid_from_key(&id, fx->client_key), ERR_OK);
    struct fetch_request r = request(fx, url, sizeof url, "/id");
    run_one(fx, &r);
    assert_string_equal(fx->body, id.text);
    assert_string_equal(fx->etag, "last"); /* trimmed, and the last of two */
}

static void test_status(void **state)
{
    struct fix *fx = *state;
    char url[128];
    struct fetch_request r = request(fx, url, sizeof url, "/busy");
    run_one(fx, &r);
    assert_int_equal(fx->e, ERR_OK); /* whatever the status */
    assert_int_equal(fx->status, 503);
    assert_string_equal(fx->retry, "9");
    assert_int_equal(fx->wait_s, 9);
    r = request(fx, url, sizeof url, "/moved");
    run_one(fx, &r);
    assert_int_equal(fx->status, 302); /* not followed */
    assert_int_equal(fx->wait_s, 5);
}

static void test_limits(void **state)
{
    struct fix *fx = *state;
    char url[128];
    struct fetch_request r = request(fx, url, sizeof url, "/x");
    r.body_max = 4;
    run_one(fx, &r);
    assert_int_equal(fx->e, ERR_LIMIT);
    r = request(fx, url, sizeof url, "/hold");
    r.timeout_ms = 3000;
    run_one(fx, &r);
    assert_int_equal(fx->e, ERR_TIMEOUT);
    assert_non_null(strstr(fx->text, "127.0.0.1:"));
    if (fx->n_gone == 0) { /* the server learns that its client is gone */
        fx->n_wanted = 0;
        loop_run(fx->loop);
    }
    assert_int_equal(fx->n_gone, 1);
}

static void test_bad_urls(void **state)
{
    static const struct {
        const char *why, *url;
    } CASES[] = {
        { "plain", "http://127.0.0.1/" },
        { "another scheme", "file:///etc/passwd" },
        { "a password in it", "https://user:secret@127.0.0.1/" },
        { "not a URL", "https//" },
        { "empty", "" },
    };
    struct fix *fx = *state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct fetch_request r = { .method = "GET", .url = CASES[i].url, .timeout_ms = 1000 };
        if (fetch_start(fx->fetch, &r, on_done, fx, NULL) != ERR_INVALID)
            fail_msg("%s: %s", CASES[i].why, CASES[i].url);
    }
}

static void test_bad_header(void **state)
{
    struct fix *fx = *state;
    char url[128];
    struct fetch_request r = request(fx, url, sizeof url, "/x");
    const char *headers[] = { "X: a\r\nY: b", NULL };
    r.headers = headers;
    assert_int_not_equal(fetch_start(fx->fetch, &r, on_done, fx, NULL), ERR_OK);
}

static void test_cancel(void **state)
{
    struct fix *fx = *state;
    char url[128];
    struct fetch_op *op = NULL;
    struct fetch_request r = request(fx, url, sizeof url, "/hold");
    start(fx, &r, &op);
    fetch_cancel(op); /* before anything happened */
    fetch_cancel(NULL);
    start(fx, &r, &fx->other); /* cancelled in the callback of the next */
    r = request(fx, url, sizeof url, "/x");
    fx->n_wanted = fx->n_done + 1;
    start(fx, &r, NULL);
    loop_run(fx->loop);
    assert_int_equal(fx->e, ERR_OK);
    assert_null(fx->other);
    assert_int_equal(fx->n_done, 1);
    r = request(fx, url, sizeof url, "/hold"); /* fetch_free() with one under way */
    start(fx, &r, NULL);
}

static void test_many(void **state)
{
    struct fix *fx = *state;
    char url[128];
    struct fetch_request r = request(fx, url, sizeof url, "/x");
    fx->n_wanted = 50;
    for (unsigned i = 0; i < fx->n_wanted; i++)
        start(fx, &r, NULL);
    loop_run(fx->loop);
    assert_int_equal(fx->n_handled, 50);
}

/* A connection that is there is used again, until the caller says that it must not. */
static void test_leave_connections(void **state)
{
    struct fix *fx = *state;
    char url[128], first[sizeof fx->body];
    struct fetch_request r = request(fx, url, sizeof url, "/peer");
    for (fx->n_wanted = 1; fx->n_wanted <= 3; fx->n_wanted++) {
        if (fx->n_wanted == 3)
            fetch_leave_connections(fx->fetch);
        start(fx, &r, NULL);
        loop_run(fx->loop);
        assert_int_equal(fx->e, ERR_OK);
        if (fx->n_wanted == 1)
            (void)snprintf(first, sizeof first, "%s", fx->body);
        assert_int_equal(strcmp(first, fx->body) != 0, fx->n_wanted == 3);
    }
}

/* One at a time: what waits can be canceled, begins by itself, and is freed unasked. */
static void test_waiting_for_a_turn(void **state)
{
    struct fix *fx = *state;
    struct fetch *fetch = NULL;
    struct fetch_op *op[4];
    char url[128];
    struct fetch_options o = { .user_agent = "test/1", .ca_file = fx->ca, .connections_max = 1 };
    struct fetch_request r = request(fx, url, sizeof url, "/x");
    assert_int_equal(fetch_new(&fetch, fx->loop, &o, NULL), ERR_OK);
    for (size_t i = 0; i < ARRAY_LEN(op); i++)
        assert_int_equal(fetch_start(fetch, &r, on_done, fx, &op[i]), ERR_OK);
    fetch_cancel(op[0]); /* under way */
    fetch_cancel(op[2]); /* waits */
    fx->n_wanted = 2;
    loop_run(fx->loop);
    assert_int_equal(fx->n_done, 2);
    assert_int_equal(fx->e, ERR_OK);
    for (size_t i = 0; i < ARRAY_LEN(op); i++)
        assert_int_equal(fetch_start(fetch, &r, on_done, fx, NULL), ERR_OK);
    fetch_free(fetch);
    assert_int_equal(fx->n_done, 2);
}

/* A certificate for another name, one from another root, and one that has expired. */
static void test_server_is_verified(void **state)
{
    static const struct {
        const char *why, *san;
        long from_s, to_s;
        bool trusted;
    } CASES[] = {
        { "another name", "IP:127.0.0.2", -60, 3600, true },
        { "unknown root", "IP:127.0.0.1", -60, 3600, false },
        { "expired", "IP:127.0.0.1", -3600, -60, true },
    };
    struct fix *fx = *state;
    char url[128];
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        EVP_PKEY *key = NULL;
        SSL_CTX *tls = NULL;
        struct fetch *fetch = NULL;
        assert_int_equal(key_new(&key, KEY_P256), ERR_OK);
        X509 *cert = testcert_new(key, CASES[i].san, CASES[i].from_s, CASES[i].to_s);
        STACK_OF(X509) *chain = sk_X509_new_null();
        sk_X509_push(chain, cert);
        assert_int_equal(tls_server_new(&tls, NULL, key, chain, TLS_PEER_ANONYMOUS, NULL, NULL),
                         ERR_OK);
        httpd_set_tls(fx->httpd, tls);
        testcert_write(CASES[i].trusted ? cert : fx->cert, fx->ca);
        struct fetch_options o = { .user_agent = "test/1", .ca_file = fx->ca };
        assert_int_equal(fetch_new(&fetch, fx->loop, &o, NULL), ERR_OK);
        struct fetch_request r = request(fx, url, sizeof url, "/x");
        fx->n_wanted = fx->n_done + 1;
        assert_int_equal(fetch_start(fetch, &r, on_done, fx, NULL), ERR_OK);
        loop_run(fx->loop);
        if (fx->e != ERR_CRYPTO)
            fail_msg("%s: %s %s", CASES[i].why, err_name(fx->e), fx->text);
        fetch_free(fetch);
        SSL_CTX_free(tls);
        sk_X509_pop_free(chain, X509_free);
        EVP_PKEY_free(key);
    }
}

static void close_client(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    (void)arg;
    close(accept(fd, NULL, NULL));
}

static void test_no_server(void **state)
{
    struct fix *fx = *state;
    char url[128];
    int fd = listener();
    fx->port = port_of(fd);
    struct event *ev = event_new(loop_base(fx->loop), fd, EV_READ | EV_PERSIST, close_client, NULL);
    assert_int_equal(event_add(ev, NULL), 0);
    struct fetch_request r = request(fx, url, sizeof url, "/x");
    run_one(fx, &r);
    assert_int_equal(fx->e, ERR_UNAVAILABLE); /* closed in the handshake */
    event_free(ev);
    close(fd);
    run_one(fx, &r);
    assert_int_equal(fx->e, ERR_UNAVAILABLE); /* refused */
    assert_non_null(strstr(fx->text, "127.0.0.1:"));
}

/* What is connected only is a plain socket, which outlives the exchange. */
static void test_connect(void **state)
{
    static const char *const BAD[] = { "", "host name:1", "127.0.0.1:99999", "a:b@127.0.0.1:1" };
    struct fix *fx = *state;
    char end[64], byte = 0;
    int fd = listener();
    (void)snprintf(end, sizeof end, "127.0.0.1:%u", port_of(fd));
    fx->n_wanted = fx->n_done + 1;
    assert_int_equal(fetch_connect(fx->fetch, end, 10000, on_done, fx, NULL), ERR_OK);
    loop_run(fx->loop);
    assert_int_equal(fx->e, ERR_OK);
    assert_true(fx->fd >= 0);
    int peer = accept(fd, NULL, NULL);
    assert_int_equal(write(fx->fd, "x", 1), 1);
    assert_int_equal(read(peer, &byte, 1), 1);
    assert_int_equal(byte, 'x');
    close(peer);
    close(fx->fd);
    close(fd);
    fx->n_wanted = fx->n_done + 1;
    assert_int_equal(fetch_connect(fx->fetch, end, 10000, on_done, fx, NULL), ERR_OK);
    loop_run(fx->loop);
    assert_int_equal(fx->e, ERR_UNAVAILABLE);
    assert_int_equal(fx->fd, -1);
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++)
        assert_int_equal(fetch_connect(fx->fetch, BAD[i], 10000, on_done, fx, NULL), ERR_INVALID);
}

static void test_bad_ca(void **state)
{
    struct fix *fx = *state;
    struct fetch *fetch = NULL;
    struct err_info info;
    struct fetch_options o = { .user_agent = "test/1", .ca_file = "/nonexistent/ca.pem" };
    assert_int_equal(fetch_new(&fetch, fx->loop, &o, &info), ERR_CONFIG);
    assert_non_null(strstr(info.text, "/nonexistent/ca.pem"));
    o.ca_file = "/dev/null";
    assert_int_equal(fetch_new(&fetch, fx->loop, &o, &info), ERR_CONFIG);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_methods),
        T(test_client_key),
        T(test_status),
        T(test_limits),
        T(test_bad_urls),
        T(test_bad_header),
        T(test_cancel),
        T(test_many),
        T(test_leave_connections),
        T(test_waiting_for_a_turn),
        T(test_no_server),
        T(test_server_is_verified),
        T(test_connect),
        T(test_bad_ca),
    };
#undef T
    return cmocka_run_group_tests(tests, NULL, NULL);
}
