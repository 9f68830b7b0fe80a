#include "common/net/fetch.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>

#include <curl/curl.h>
#include <event2/event.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"

#define CA_FILE_MAX (1024 * 1024)
#define CONNECTIONS_DEFAULT 8
#define CONNECT_MS_MAX 15000
#define IDLE_S_MAX 50 /* below the minute after which servers, ours too, close what is idle */
#define HOST_MAX 300  /* bytes of "host:port" */

struct fetch_op {
    TAILQ_ENTRY(fetch_op) entry;
    bool active; /* libcurl has it; otherwise it waits its turn */
    struct fetch *fetch;
    CURL *easy;
    struct curl_slist *headers;
    struct buf request, body;
    bool too_large, connects; /* connects: only that */
    void (*fn)(void *arg, const struct fetch_result *res);
    void *arg;
    char host[HOST_MAX];
    char cause[CURL_ERROR_SIZE];
};

TAILQ_HEAD(ops, fetch_op);

struct fetch {
    struct loop *loop;
    CURLM *multi;
    struct loop_timer *timer; /* libcurl's */
    struct loop_timer *next;  /* lets those begin for whom there is room now */
    struct ops active, waiting;
    size_t n_active, n_max;
    char *user_agent;
    struct buf ca; /* empty: the system's */
    EVP_PKEY *key;
    X509 *cert;
    bool tls13_only, curl_is_up;
    int64_t built_s;
    struct fetch_clock clock; /* its functions are NULL: none */
    X509 *server;             /* the last that was verified, for the clock; NULL: none yet */
    int64_t left_ms;          /* monotonic: no connection of before is used; 0: any */
};

/* --- libcurl and the loop ------------------------------------------------------------------ */

static struct fetch_result result_of(struct fetch_op *op, CURLcode code);

static bool is_good_at(const X509 *cert, int64_t at_s)
{
    time_t at = (time_t)at_s;
    return X509_cmp_time(X509_get0_notBefore(cert), &at) < 0 &&
           X509_cmp_time(X509_get0_notAfter(cert), &at) > 0;
}

/* A server that is out of its own certificate's time does not know what time it is. */
static void take_date(const struct fetch *f, const struct fetch_result *res)
{
    int64_t date_s = fetch_date(res);
    if (f->clock.on_date != NULL && date_s > 0 && f->server != NULL &&
        is_good_at(f->server, date_s) && fetch_header(res, "Age") == NULL)
        f->clock.on_date(f->clock.arg, date_s);
}

static void finish(struct fetch_op *op, CURLcode code)
{
    struct fetch_result res = result_of(op, code);
    if (res.e == ERR_OK && !op->connects)
        take_date(op->fetch, &res); /* before what is done with the answer */
    op->fn(op->arg, &res);
    fetch_cancel(op);
}

static bool begin(struct fetch_op *op)
{
    struct fetch *f = op->fetch;
    /* those of before are idle for too long when that time is over */
    long fresh = f->left_ms != 0 && clock_mono_ms() - f->left_ms <= (IDLE_S_MAX + 1) * 1000L;
    if (curl_easy_setopt(op->easy, CURLOPT_FRESH_CONNECT, fresh) != CURLE_OK ||
        curl_multi_add_handle(f->multi, op->easy) != CURLM_OK)
        return false;
    op->active = true;
    f->n_active++;
    TAILQ_INSERT_TAIL(&f->active, op, entry);
    return true;
}

/* No more at once than there may be connections: libcurl 7.88 has a queue of its own for what is
 * more, but forgets about it when many streams of HTTP/2 connections end together. */
static void on_next(void *arg)
{
    struct fetch *f = arg;
    struct fetch_op *op;
    while (f->n_active < f->n_max && (op = TAILQ_FIRST(&f->waiting)) != NULL) {
        TAILQ_REMOVE(&f->waiting, op, entry);
        if (begin(op))
            continue;
        TAILQ_INSERT_HEAD(&f->waiting, op, entry);
        finish(op, CURLE_OUT_OF_MEMORY);
    }
}

/* Hands over every exchange that has ended. A callback may start and cancel others. */
static void deliver(struct fetch *f)
{
    CURLMsg *msg;
    int left;
    while ((msg = curl_multi_info_read(f->multi, &left)) != NULL) {
        if (msg->msg != CURLMSG_DONE)
            continue;
        CURLcode code = msg->data.result;
        struct fetch_op *op = NULL;
        if (curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&op) != CURLE_OK ||
            op == NULL)
            continue;
        finish(op, code);
    }
}

static void fetch_on_socket(struct fetch *f, curl_socket_t fd, int mask)
{
    int running;
    (void)curl_multi_socket_action(f->multi, fd, mask, &running);
    deliver(f);
}

static void on_socket(evutil_socket_t fd, short what, void *arg)
{
    fetch_on_socket(arg, fd,
                    ((what & EV_READ) != 0 ? CURL_CSELECT_IN : 0) |
                        ((what & EV_WRITE) != 0 ? CURL_CSELECT_OUT : 0));
}

static void on_timer(void *arg)
{
    fetch_on_socket(arg, CURL_SOCKET_TIMEOUT, 0);
}

/* libcurl says what it waits for on a socket; the event hangs on the socket. */
static int watch_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct fetch *f = arg;
    struct event *ev = socket_arg;
    (void)easy;
    if (ev != NULL)
        event_free(ev);
    ev = NULL;
    if (what != CURL_POLL_REMOVE) {
        int mask = EV_PERSIST | ((what & CURL_POLL_IN) != 0 ? EV_READ : 0) |
                   ((what & CURL_POLL_OUT) != 0 ? EV_WRITE : 0);
        ev = event_new(loop_base(f->loop), fd, (short)mask, on_socket, f);
        if (ev == NULL || event_add(ev, NULL) != 0)
            return -1;
    }
    (void)curl_multi_assign(f->multi, fd, ev);
    return 0;
}

static int set_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct fetch *f = arg;
    (void)multi;
    if (timeout_ms < 0)
        loop_timer_cancel(f->timer);
    else
        loop_timer_set(f->timer, timeout_ms);
    return 0;
}

/* --- the pool ------------------------------------------------------------------------------ */

static enum err load_ca(struct fetch *f, const char *path, struct err_info *info)
{
    enum err e = file_read(path, &f->ca, info);
    if (e != ERR_OK)
        return ERR_CONFIG;
    BIO *bio = BIO_new_mem_buf(f->ca.p != NULL ? (const void *)f->ca.p : "", (int)f->ca.len);
    X509 *first = bio != NULL ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    if (first == NULL)
        e = err_set(info, ERR_CONFIG, "%s holds no certificate in PEM form", path);
    X509_free(first);
    BIO_free_all(bio);
    ERR_clear_error();
    return e;
}

/* Distributions differ in what they build libcurl with. HTTP/2 is used where it is there. */
static enum err check_curl(struct err_info *info)
{
    const curl_version_info_data *curl = curl_version_info(CURLVERSION_NOW);
    const char *tls = curl->ssl_version != NULL ? curl->ssl_version : "no TLS";
    if (strncmp(tls, "OpenSSL/", strlen("OpenSSL/")) != 0) /* it hands us its TLS context */
        return err_set(info, ERR_CONFIG, "this libcurl has %s: one with OpenSSL is needed", tls);
    if ((curl->features & CURL_VERSION_ASYNCHDNS) == 0)
        log_warn("this libcurl looks names up while everything else waits: build it with a "
                 "threaded resolver");
    return ERR_OK;
}

static enum err open_multi(struct fetch *f)
{
    long n = (long)f->n_max;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return ERR_NOMEM;
    f->curl_is_up = true;
    f->multi = curl_multi_init();
    if (f->multi == NULL || curl_multi_setopt(f->multi, CURLMOPT_SOCKETFUNCTION, watch_socket) ||
        curl_multi_setopt(f->multi, CURLMOPT_SOCKETDATA, f) ||
        curl_multi_setopt(f->multi, CURLMOPT_TIMERFUNCTION, set_timer) ||
        curl_multi_setopt(f->multi, CURLMOPT_TIMERDATA, f) ||
        curl_multi_setopt(f->multi, CURLMOPT_MAX_HOST_CONNECTIONS, n) ||
        curl_multi_setopt(f->multi, CURLMOPT_MAXCONNECTS, n))
        return ERR_NOMEM;
    return ERR_OK;
}

enum err fetch_new(struct fetch **out, struct loop *l, const struct fetch_options *o,
                   struct err_info *info)
{
    enum err e = check_curl(info);
    if (e != ERR_OK)
        return e;
    struct fetch *f = calloc(1, sizeof *f);
    if (f == NULL)
        return err_set(info, ERR_NOMEM, "out of memory");
    f->loop = l;
    f->tls13_only = o->tls13_only;
    f->built_s = o->built_s;
    if (o->clock != NULL)
        f->clock = *o->clock;
    TAILQ_INIT(&f->active);
    TAILQ_INIT(&f->waiting);
    f->n_max = o->connections_max > 0 ? o->connections_max : CONNECTIONS_DEFAULT;
    buf_init(&f->ca, CA_FILE_MAX);
    if (o->client_key != NULL && o->client_cert != NULL) {
        (void)EVP_PKEY_up_ref(o->client_key);
        (void)X509_up_ref(o->client_cert);
        f->key = o->client_key;
        f->cert = o->client_cert;
    }
    f->user_agent = strdup(o->user_agent);
    e = f->user_agent == NULL ? ERR_NOMEM : loop_timer_new(&f->timer, l, on_timer, f);
    if (e == ERR_OK)
        e = loop_timer_new(&f->next, l, on_next, f);
    if (e == ERR_OK)
        e = open_multi(f);
    if (e != ERR_OK)
        (void)err_set(info, e, "cannot set up an HTTPS client: %s", err_name(e));
    if (e == ERR_OK && o->ca_file != NULL)
        e = load_ca(f, o->ca_file, info);
    if (e != ERR_OK) {
        fetch_free(f);
        return e;
    }
    *out = f;
    return ERR_OK;
}

void fetch_free(struct fetch *f)
{
    if (f == NULL)
        return;
    while (!TAILQ_EMPTY(&f->waiting))
        fetch_cancel(TAILQ_FIRST(&f->waiting));
    while (!TAILQ_EMPTY(&f->active))
        fetch_cancel(TAILQ_FIRST(&f->active));
    if (f->multi != NULL)
        (void)curl_multi_cleanup(f->multi);
    if (f->curl_is_up)
        curl_global_cleanup();
    loop_timer_free(f->timer);
    loop_timer_free(f->next);
    EVP_PKEY_free(f->key);
    X509_free(f->cert);
    X509_free(f->server);
    buf_clear(&f->ca);
    free(f->user_agent);
    free(f);
}

/* --- one exchange -------------------------------------------------------------------------- */

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    struct fetch_op *op = arg;
    buf_add(&op->body, p, size * n);
    if (buf_error(&op->body) == ERR_OK)
        return size * n;
    op->too_large = buf_error(&op->body) == ERR_LIMIT;
    return 0; /* ends the exchange with CURLE_WRITE_ERROR */
}

static void note_server(struct fetch *f, X509 *cert)
{
    if (X509_up_ref(cert) != 1)
        return;
    X509_free(f->server);
    f->server = cert;
}

/* After OpenSSL's own look, which believes the clock. */
static int check_dates(int ok, X509_STORE_CTX *store)
{
    const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct fetch *f = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    X509 *cert = X509_STORE_CTX_get_current_cert(store);
    time_t built = (time_t)f->built_s;
    int error = X509_STORE_CTX_get_error(store);
    bool by_date = error == X509_V_ERR_CERT_HAS_EXPIRED || error == X509_V_ERR_CERT_NOT_YET_VALID;
    if (ok == 0 && by_date && f->clock.now_s != NULL &&
        is_good_at(cert, f->clock.now_s(f->clock.arg))) {
        X509_STORE_CTX_set_error(store, X509_V_OK);
        ok = 1;
    }
    bool good = ok != 0 && X509_cmp_time(X509_get0_notAfter(cert), &built) > 0;
    if (good && X509_STORE_CTX_get_error_depth(store) == 0)
        note_server(f, cert);
    if (ok == 0 || good)
        return ok;
    X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_HAS_EXPIRED);
    return 0;
}

/* The key never passes through libcurl as text or file. */
static CURLcode on_ssl_ctx(CURL *easy, void *ssl_ctx, void *arg)
{
    const struct fetch *f = arg;
    (void)easy;
    if (SSL_CTX_use_certificate(ssl_ctx, f->cert) != 1 ||
        SSL_CTX_use_PrivateKey(ssl_ctx, f->key) != 1)
        return CURLE_SSL_CERTPROBLEM;
    if (f->built_s != 0 || f->clock.now_s != NULL) {
        SSL_CTX_set_app_data((SSL_CTX *)ssl_ctx, arg);
        SSL_CTX_set_verify(ssl_ctx, SSL_VERIFY_PEER, check_dates);
    }
    return CURLE_OK;
}

/* Of the scheme that we want, with a host, without a password in it; notes "host:port" for what
 * people read. */
static bool check_url(struct fetch_op *op, const char *url, const char *want)
{
    char *scheme = NULL, *host = NULL, *port = NULL, *user = NULL;
    CURLU *u = curl_url();
    bool ok = u != NULL && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
              curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
              strcmp(scheme, want) == 0 && curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
              host[0] != 0 &&
              curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
              curl_url_get(u, CURLUPART_USER, &user, 0) != CURLUE_OK;
    if (ok) {
        struct buf text;
        buf_init(&text, sizeof op->host - 1);
        buf_add_fmt(&text, "%s:%s", host, port);
        ok = buf_error(&text) == ERR_OK;
        if (ok)
            memcpy(op->host, buf_str(&text), text.len + 1);
        buf_clear(&text);
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_free(user);
    curl_url_cleanup(u);
    return ok;
}

static bool add_header(struct fetch_op *op, const char *line)
{
    struct curl_slist *more = curl_slist_append(op->headers, line);
    if (more != NULL)
        op->headers = more;
    return more != NULL;
}

static bool set_headers(struct fetch_op *op, const char *const *headers)
{
    bool has_type = false;
    for (; headers != NULL && *headers != NULL; headers++) {
        has_type = has_type || strncasecmp(*headers, "content-type:", 13) == 0;
        if (strpbrk(*headers, "\r\n") != NULL || !add_header(op, *headers))
            return false;
    }
    /* libcurl would say that a body is a form, and wait for a 100 before a large one */
    if ((!has_type && !add_header(op, "Content-Type:")) || !add_header(op, "Expect:"))
        return false;
    return curl_easy_setopt(op->easy, CURLOPT_HTTPHEADER, op->headers) == CURLE_OK;
}

static bool set_method(struct fetch_op *op, const char *method)
{
    CURL *c = op->easy;
    if (strcmp(method, "HEAD") == 0)
        return !curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
    bool sends = op->request.len > 0 || strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0;
    if (sends && (curl_easy_setopt(c, CURLOPT_POST, 1L) ||
                  curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)op->request.len) ||
                  curl_easy_setopt(c, CURLOPT_POSTFIELDS, buf_str(&op->request))))
        return false;
    return strcmp(method, sends ? "POST" : "GET") == 0 ||
           !curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method);
}

static bool set_tls(struct fetch_op *op)
{
    const struct fetch *f = op->fetch;
    CURL *c = op->easy;
    long version = f->tls13_only ? (long)CURL_SSLVERSION_TLSv1_3 : (long)CURL_SSLVERSION_TLSv1_2;
    if (curl_easy_setopt(c, CURLOPT_SSLVERSION, version) ||
        curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L) ||
        curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L))
        return false;
    if (f->ca.len > 0) {
        /* these roots instead of the system's, not besides them */
        struct curl_blob blob = { f->ca.p, f->ca.len, CURL_BLOB_NOCOPY };
        if (curl_easy_setopt(c, CURLOPT_CAINFO_BLOB, &blob) ||
            curl_easy_setopt(c, CURLOPT_CAINFO, NULL) || curl_easy_setopt(c, CURLOPT_CAPATH, NULL))
            return false;
    }
    return f->key == NULL || (!curl_easy_setopt(c, CURLOPT_SSL_CTX_FUNCTION, on_ssl_ctx) &&
                              !curl_easy_setopt(c, CURLOPT_SSL_CTX_DATA, f));
}

static bool set_transfer(struct fetch_op *op, const char *url, int64_t timeout_ms)
{
    CURL *c = op->easy;
    long total = timeout_ms < 1 ? 1 : timeout_ms > INT32_MAX ? INT32_MAX : (long)timeout_ms;
    long connect = total < CONNECT_MS_MAX ? total : CONNECT_MS_MAX;
    return !curl_easy_setopt(c, CURLOPT_URL, url) && !curl_easy_setopt(c, CURLOPT_PRIVATE, op) &&
           !curl_easy_setopt(c, CURLOPT_ERRORBUFFER, op->cause) &&
           !curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L) &&
           !curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "https") &&
           !curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, "https") &&
           !curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L) &&
           !curl_easy_setopt(c, CURLOPT_PROXY, "") && !curl_easy_setopt(c, CURLOPT_NOPROXY, "*") &&
           !curl_easy_setopt(c, CURLOPT_USERAGENT, op->fetch->user_agent) &&
           !curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, total) &&
           !curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, connect) &&
           !curl_easy_setopt(c, CURLOPT_MAXAGE_CONN, (long)IDLE_S_MAX) &&
           !curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L) &&
           !curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body) &&
           !curl_easy_setopt(c, CURLOPT_WRITEDATA, op);
}

static bool set_way(struct fetch_op *op, int family, const char *source)
{
    char from[80]; /* "host!": never the name of an interface */
    long version = family == 4   ? CURL_IPRESOLVE_V4
                   : family == 6 ? CURL_IPRESOLVE_V6
                                 : CURL_IPRESOLVE_WHATEVER;
    if (curl_easy_setopt(op->easy, CURLOPT_IPRESOLVE, version))
        return false;
    if (source == NULL)
        return true;
    (void)snprintf(from, sizeof from, "host!%s", source);
    return !curl_easy_setopt(op->easy, CURLOPT_INTERFACE, from);
}

static void op_free(struct fetch_op *op)
{
    curl_easy_cleanup(op->easy);
    curl_slist_free_all(op->headers);
    buf_wipe(&op->request); /* may hold a token */
    buf_wipe(&op->body);
    free(op);
}

static struct fetch_op *op_new(struct fetch *f, size_t request_max, size_t body_max,
                               void (*fn)(void *arg, const struct fetch_result *res), void *arg)
{
    struct fetch_op *op = calloc(1, sizeof *op);
    if (op == NULL)
        return NULL;
    op->fetch = f;
    op->fn = fn;
    op->arg = arg;
    buf_init(&op->request, request_max);
    buf_init(&op->body, body_max);
    return op;
}

/* Begins `op`, or has it wait for a place: frees it when neither can be. */
static enum err enter(struct fetch_op *op, struct fetch_op **out)
{
    struct fetch *f = op->fetch;
    if (f->n_active < f->n_max && !begin(op)) {
        op_free(op);
        return ERR_NOMEM;
    }
    if (!op->active)
        TAILQ_INSERT_TAIL(&f->waiting, op, entry);
    if (out != NULL)
        *out = op;
    return ERR_OK;
}

enum err fetch_start(struct fetch *f, const struct fetch_request *r,
                     void (*fn)(void *arg, const struct fetch_result *res), void *arg,
                     struct fetch_op **out)
{
    struct fetch_op *op = op_new(f, r->body.len, r->body_max, fn, arg);
    if (op == NULL)
        return ERR_NOMEM;
    buf_add_span(&op->request, r->body);
    if (!check_url(op, r->url, "https")) {
        op_free(op);
        return ERR_INVALID;
    }
    op->easy = curl_easy_init();
    if (buf_error(&op->request) != ERR_OK || op->easy == NULL ||
        !set_transfer(op, r->url, r->timeout_ms) || !set_tls(op) || !set_method(op, r->method) ||
        !set_headers(op, r->headers) || !set_way(op, r->family, r->source)) {
        op_free(op);
        return ERR_NOMEM;
    }
    return enter(op, out);
}

void fetch_leave_connections(struct fetch *f)
{
    f->left_ms = clock_mono_ms();
}

enum err fetch_connect(struct fetch *f, const char *end, int64_t timeout_ms,
                       void (*fn)(void *arg, const struct fetch_result *res), void *arg,
                       struct fetch_op **out)
{
    char url[HOST_MAX + 8]; /* libcurl wants a scheme, and then speaks nothing of it */
    struct fetch_op *op = op_new(f, 0, 0, fn, arg);
    if (op == NULL)
        return ERR_NOMEM;
    op->connects = true;
    int n = snprintf(url, sizeof url, "http://%s", end);
    if (n < 0 || (size_t)n >= sizeof url || !check_url(op, url, "http")) {
        op_free(op);
        return ERR_INVALID;
    }
    op->easy = curl_easy_init();
    if (op->easy == NULL || !set_transfer(op, url, timeout_ms) ||
        curl_easy_setopt(op->easy, CURLOPT_PROTOCOLS_STR, "http") ||
        curl_easy_setopt(op->easy, CURLOPT_CONNECT_ONLY, 1L)) {
        op_free(op);
        return ERR_NOMEM;
    }
    return enter(op, out);
}

void fetch_cancel(struct fetch_op *op)
{
    if (op == NULL)
        return;
    struct fetch *f = op->fetch;
    TAILQ_REMOVE(op->active ? &f->active : &f->waiting, op, entry);
    if (op->active) {
        (void)curl_multi_remove_handle(f->multi, op->easy);
        f->n_active--;
        if (!TAILQ_EMPTY(&f->waiting))
            loop_timer_set(f->next, 0);
    }
    op_free(op);
}

/* --- the result ---------------------------------------------------------------------------- */

static enum err err_of(const struct fetch_op *op, CURLcode code)
{
    switch (code) {
    case CURLE_OK:
        return ERR_OK;
    case CURLE_OPERATION_TIMEDOUT:
        return ERR_TIMEOUT;
    case CURLE_OUT_OF_MEMORY:
        return ERR_NOMEM;
    case CURLE_FILESIZE_EXCEEDED:
        return ERR_LIMIT;
    case CURLE_WRITE_ERROR:
        return op->too_large ? ERR_LIMIT : ERR_NOMEM;
    case CURLE_SSL_CONNECT_ERROR:
        /* what OpenSSL refuses has its "error:" code; a reset in the handshake has not */
        return strstr(op->cause, "error:") != NULL ? ERR_CRYPTO : ERR_UNAVAILABLE;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
        return ERR_CRYPTO;
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL: /* HTTP/0.9 */
    case CURLE_BAD_CONTENT_ENCODING:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        return ERR_REMOTE;
    default:
        return ERR_UNAVAILABLE;
    }
}

/* libcurl closes its own when the exchange is over. */
static enum err take_socket(const struct fetch_op *op, int *fd)
{
    curl_socket_t s = CURL_SOCKET_BAD;
    if (curl_easy_getinfo(op->easy, CURLINFO_ACTIVESOCKET, &s) != CURLE_OK || s == CURL_SOCKET_BAD)
        return ERR_UNAVAILABLE;
    *fd = fcntl(s, F_DUPFD_CLOEXEC, 0);
    return *fd >= 0 ? ERR_OK : ERR_IO;
}

static struct fetch_result result_of(struct fetch_op *op, CURLcode code)
{
    struct fetch_result res = { .e = err_of(op, code), .fd = -1, .op = op };
    long status = 0;
    (void)curl_easy_getinfo(op->easy, CURLINFO_RESPONSE_CODE, &status);
    res.status = (int)status;
    res.body = buf_span(&op->body);
    if (res.e == ERR_OK && op->connects)
        res.e = take_socket(op, &res.fd);
    if (op->too_large)
        (void)err_set(&res.info, res.e, "%s sent more than %zu bytes", op->host, op->body.max);
    else if (res.e != ERR_OK)
        (void)err_set(&res.info, res.e, "%s: %s", op->host,
                      op->cause[0] != 0 ? op->cause : curl_easy_strerror(code));
    return res;
}

const char *fetch_header(const struct fetch_result *res, const char *name)
{
    struct curl_header *h;
    CURL *easy = res->op->easy;
    if (curl_easy_header(easy, name, 0, CURLH_HEADER, -1, &h) != CURLHE_OK)
        return NULL;
    if (h->amount > 1 &&
        curl_easy_header(easy, name, h->amount - 1, CURLH_HEADER, -1, &h) != CURLHE_OK)
        return NULL;
    return h->value;
}

const char *fetch_header_at(const struct fetch_result *res, const char *name, size_t index)
{
    struct curl_header *h;
    return curl_easy_header(res->op->easy, name, index, CURLH_HEADER, -1, &h) == CURLHE_OK
               ? h->value
               : NULL;
}

int64_t fetch_date(const struct fetch_result *res)
{
    const char *text = fetch_header(res, "Date");
    time_t at = text != NULL ? curl_getdate(text, NULL) : -1;
    return at > 0 ? (int64_t)at : 0;
}

int64_t fetch_retry_after(const struct fetch_result *res, int64_t now_s, int64_t max_s,
                          int64_t absent_s)
{
    const char *text = fetch_header(res, "Retry-After");
    if (text == NULL || *text == 0)
        return absent_s;
    size_t digits = strspn(text, "0123456789");
    int64_t wait_s;
    if (text[digits] == 0) {
        wait_s = digits > 15 ? INT64_MAX : strtoll(text, NULL, 10);
    } else {
        time_t at = curl_getdate(text, NULL);
        if (at == (time_t)-1)
            return absent_s;
        wait_s = (int64_t)at - now_s;
    }
    return wait_s < 0 ? 0 : wait_s > max_s ? max_s : wait_s;
}
