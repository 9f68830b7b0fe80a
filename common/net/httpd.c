#include "common/net/httpd.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/net/httpconn.h"
#include "common/net/proxyaccept.h"

#define ACCEPTS_PER_EVENT 64
#define ACCEPT_RETRY_MS 200
#define N_BUCKETS 1024 /* power of two */

const struct httpd_limits HTTPD_LIMITS_DEFAULT = {
    .body_max = 64 * 1024,
    .head_max = 16 * 1024,
    .request_ms = 15000,
    .idle_ms = 60000,
    .write_ms = 30000,
    .handler_ms = 130000,
    .connections_max = 8192,
    .per_prefix_max = 256,
};

const struct httpd_limits HTTPD_LIMITS_PAGES = {
    .body_max = 1024,
    .head_max = 8192,
    .request_ms = 5000,
    .idle_ms = 15000,
    .write_ms = 10000,
    .handler_ms = 5000,
    .connections_max = 64,
    .per_prefix_max = 32,
};

/* A client's network: an IPv4 address or an IPv6 /64. */
struct prefix {
    uint8_t bytes[9]; /* family, address */
};

struct slot {
    LIST_ENTRY(slot) all, bucket;
    struct httpd *httpd;
    struct httpconn *conn;
    struct prefix prefix;
};

LIST_HEAD(slots, slot);

/* A connection of a load balancer that has not said yet for whom it is. */
struct arrival {
    LIST_ENTRY(arrival) all;
    struct httpd *httpd;
    struct proxyaccept *accept;
};

LIST_HEAD(arrivals, arrival);

/* A socket that we listen on. */
struct door {
    struct httpd *httpd;
    int fd;
    struct event *ev;
};

struct httpd {
    struct httpconn_env env;
    struct httpd_counts counts;
    SSL_CTX *tls;
    size_t n_doors;
    struct door doors[HTTPD_SOCKETS_MAX];
    int reserve_fd; /* lets us say no to one client when descriptors run out */
    struct loop_timer *retry, *drain;
    struct cidr *proxies;
    size_t n_proxies, n_arrivals;
    struct arrivals arrivals;
    struct slots all;
    struct slots buckets[N_BUCKETS]; /* by prefix */
    uint64_t seed;
    size_t n_connections;
    bool starved;
    void (*drained)(void *arg);
    void *drained_arg;
};

/* false for a local socket, which has no network. */
static bool prefix_of(struct prefix *out, const struct addr *a)
{
    *out = (struct prefix){ .bytes = { (uint8_t)a->ss.ss_family } };
    if (a->ss.ss_family == AF_INET)
        memcpy(out->bytes + 1, &((const struct sockaddr_in *)&a->ss)->sin_addr, 4);
    else if (a->ss.ss_family == AF_INET6)
        memcpy(out->bytes + 1, &((const struct sockaddr_in6 *)&a->ss)->sin6_addr, 8);
    else
        return false;
    return true;
}

static struct slots *bucket_of(struct httpd *h, const struct prefix *p)
{
    uint64_t x = h->seed;
    for (size_t i = 0; i < sizeof p->bytes; i++)
        x = (x ^ p->bytes[i]) * UINT64_C(0x100000001b3);
    return &h->buckets[(x >> 32) & (N_BUCKETS - 1)];
}

static bool has_room(struct httpd *h, const struct addr *peer)
{
    const struct httpd_limits *limits = &h->env.limits;
    struct prefix p;
    if (h->n_connections >= limits->connections_max)
        return false;
    if (!prefix_of(&p, peer))
        return true;
    size_t n = 0;
    const struct slot *s;
    LIST_FOREACH(s, bucket_of(h, &p), bucket)
    n += memcmp(&s->prefix, &p, sizeof p) == 0;
    return n < limits->per_prefix_max;
}

static void remove_slot(struct slot *s)
{
    LIST_REMOVE(s, all);
    LIST_REMOVE(s, bucket);
    metric_set(&s->httpd->counts.open, --s->httpd->n_connections);
    free(s);
}

static void slot_closed(void *arg)
{
    struct slot *s = arg;
    struct httpd *h = s->httpd;
    remove_slot(s);
    if (h->drained != NULL && LIST_EMPTY(&h->all))
        loop_timer_set(h->drain, 0);
}

static void add_connection(struct httpd *h, int fd, const struct addr *peer)
{
    int on = 1;
    struct slot *s = has_room(h, peer) ? calloc(1, sizeof *s) : NULL;
    metric_add(s == NULL ? &h->counts.refused : &h->counts.accepted, 1);
    if (s == NULL) {
        close(fd);
        return;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    s->httpd = h;
    (void)prefix_of(&s->prefix, peer);
    if (httpconn_new(&s->conn, &h->env, fd, h->tls, peer, slot_closed, s) != ERR_OK) {
        free(s);
        return;
    }
    LIST_INSERT_HEAD(&h->all, s, all);
    LIST_INSERT_HEAD(bucket_of(h, &s->prefix), s, bucket);
    metric_set(&h->counts.open, ++h->n_connections);
}

static void remove_arrival(struct arrival *a)
{
    LIST_REMOVE(a, all);
    a->httpd->n_arrivals--;
    free(a);
}

static void on_arrived(void *arg, int fd, const struct addr *peer)
{
    struct arrival *a = arg;
    struct httpd *h = a->httpd;
    remove_arrival(a);
    if (fd >= 0)
        add_connection(h, fd, peer);
    else
        metric_add(&h->counts.refused, 1);
}

static bool is_proxy(const struct httpd *h, const struct addr *peer)
{
    for (size_t i = 0; i < h->n_proxies; i++) {
        if (cidr_contains(&h->proxies[i], (const struct sockaddr *)&peer->ss))
            return true;
    }
    return false;
}

static void await_header(struct httpd *h, int fd, const struct addr *peer)
{
    const struct httpd_limits *l = &h->env.limits;
    int64_t timeout_ms = l->request_ms < l->idle_ms ? l->request_ms : l->idle_ms;
    bool room = h->n_connections + h->n_arrivals < l->connections_max;
    struct arrival *a = room ? calloc(1, sizeof *a) : NULL;
    if (a == NULL) {
        metric_add(&h->counts.refused, 1);
        close(fd);
        return;
    }
    a->httpd = h;
    if (proxyaccept_new(&a->accept, h->env.loop, fd, peer, timeout_ms, on_arrived, a) != ERR_OK) {
        free(a);
        return;
    }
    LIST_INSERT_HEAD(&h->arrivals, a, all);
    h->n_arrivals++;
}

/* Out of descriptors: the socket stays readable, so a loop that went on would spin. One client is
 * told by a close, by way of the reserve; the others wait in the kernel's queue. */
static void starve(struct door *d, int errnum)
{
    struct httpd *h = d->httpd;
    if (!h->starved)
        log_warn("cannot accept connections for now: %s", strerror(errnum));
    h->starved = true;
    if (h->reserve_fd >= 0) {
        close(h->reserve_fd);
        int fd = accept4(d->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            close(fd);
    }
    h->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    (void)event_del(d->ev);
    loop_timer_set(h->retry, ACCEPT_RETRY_MS);
}

static void httpd_on_acceptable(struct door *d)
{
    struct httpd *h = d->httpd;
    for (int i = 0; i < ACCEPTS_PER_EVENT; i++) {
        struct addr peer = { .len = sizeof peer.ss };
        int fd =
            accept4(d->fd, (struct sockaddr *)&peer.ss, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            h->starved = false;
            if (is_proxy(h, &peer))
                await_header(h, fd, &peer);
            else
                add_connection(h, fd, &peer);
            continue;
        }
        if (errno == EINTR || errno == ECONNABORTED)
            continue;
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            starve(d, errno);
        return; /* else EAGAIN, or an error of a client's network, which is as good [accept(2)] */
    }
}

static void on_acceptable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    httpd_on_acceptable(arg);
}

static void on_retry(void *arg)
{
    struct httpd *h = arg;
    for (size_t i = 0; i < h->n_doors && !h->env.draining; i++)
        (void)event_add(h->doors[i].ev, NULL); /* one that is added already stays so */
}

static void close_arrivals(struct httpd *h)
{
    while (!LIST_EMPTY(&h->arrivals)) {
        struct arrival *a = LIST_FIRST(&h->arrivals);
        proxyaccept_free(a->accept);
        remove_arrival(a);
    }
}

static void close_all(struct httpd *h)
{
    while (!LIST_EMPTY(&h->all)) {
        struct slot *s = LIST_FIRST(&h->all);
        struct httpconn *c = s->conn;
        remove_slot(s);
        httpconn_free(c);
    }
}

/* Everything has ended, or the grace is over. */
static void on_drained(void *arg)
{
    struct httpd *h = arg;
    void (*fn)(void *arg) = h->drained;
    void *fn_arg = h->drained_arg;
    h->drained = NULL;
    close_all(h);
    if (fn != NULL)
        fn(fn_arg); /* may free the server */
}

enum err httpd_new(struct httpd **out, struct loop *l, int fd, SSL_CTX *tls,
                   const struct httpd_limits *limits, httpd_handler *fn, void *arg)
{
    struct httpd *h = calloc(1, sizeof *h);
    if (h == NULL)
        return ERR_NOMEM;
    h->env = (struct httpconn_env){
        .loop = l, .limits = limits != NULL ? *limits : HTTPD_LIMITS_DEFAULT, .fn = fn, .arg = arg
    };
    h->env.counts = &h->counts;
    LIST_INIT(&h->all);
    LIST_INIT(&h->arrivals);
    for (size_t i = 0; i < N_BUCKETS; i++)
        LIST_INIT(&h->buckets[i]);
    secret_random(&h->seed, sizeof h->seed);
    h->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    enum err e = h->reserve_fd < 0 ? ERR_IO : ERR_OK;
    if (e == ERR_OK)
        e = loop_timer_new(&h->retry, l, on_retry, h);
    if (e == ERR_OK)
        e = loop_timer_new(&h->drain, l, on_drained, h);
    if (e == ERR_OK)
        e = httpd_listen(h, fd); /* the caller's until all is well */
    if (e != ERR_OK) {
        httpd_free(h);
        return e;
    }
    httpd_set_tls(h, tls);
    *out = h;
    return ERR_OK;
}

enum err httpd_listen(struct httpd *h, int fd)
{
    if (h->n_doors == HTTPD_SOCKETS_MAX)
        return ERR_LIMIT;
    struct door *d = &h->doors[h->n_doors];
    *d = (struct door){ .httpd = h, .fd = fd };
    d->ev = event_new(loop_base(h->env.loop), fd, EV_READ | EV_PERSIST, on_acceptable, d);
    if (d->ev == NULL || event_add(d->ev, NULL) != 0) {
        if (d->ev != NULL)
            event_free(d->ev);
        return ERR_NOMEM;
    }
    h->n_doors++;
    return ERR_OK;
}

const struct httpd_counts *httpd_counts(const struct httpd *h)
{
    return &h->counts;
}

void httpd_set_tls(struct httpd *h, SSL_CTX *tls)
{
    if (tls != NULL)
        (void)SSL_CTX_up_ref(tls);
    SSL_CTX_free(h->tls);
    h->tls = tls;
}

enum err httpd_set_proxies(struct httpd *h, const struct cidr *from, size_t n)
{
    struct cidr *copy = calloc(n > 0 ? n : 1, sizeof *copy);
    if (copy == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++)
        copy[i] = from[i];
    free(h->proxies);
    h->proxies = copy;
    h->n_proxies = n;
    return ERR_OK;
}

static void stop_accepting(struct httpd *h)
{
    close_arrivals(h);
    while (h->n_doors > 0) {
        struct door *d = &h->doors[--h->n_doors];
        event_free(d->ev);
        close(d->fd);
    }
}

void httpd_drain(struct httpd *h, int64_t grace_ms, void (*fn)(void *arg), void *arg)
{
    stop_accepting(h);
    loop_timer_cancel(h->retry);
    h->env.draining = true;
    h->drained = fn;
    h->drained_arg = arg;
    struct slot *s;
    LIST_FOREACH(s, &h->all, all)
    httpconn_drain(s->conn);
    loop_timer_set(h->drain, LIST_EMPTY(&h->all) ? 0 : grace_ms);
}

void httpd_free(struct httpd *h)
{
    if (h == NULL)
        return;
    stop_accepting(h);
    close_all(h);
    loop_timer_free(h->retry);
    loop_timer_free(h->drain);
    if (h->reserve_fd >= 0)
        close(h->reserve_fd);
    SSL_CTX_free(h->tls);
    free(h->proxies);
    free(h);
}
