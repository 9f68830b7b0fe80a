/* load.c - both ends of what a relay passes on, much cheaper than the relay. HELLO is a file with
 * the bytes that a client begins with.
 *
 * load origin PORT HELLO_LEN [DATA_PORT CONTROL_PORT CERT KEY TICKET]: takes connections at PORT;
 *   as the device of a relay it makes one to DATA_PORT for each call, too. After HELLO_LEN bytes
 *   each request is 8 bytes: how many bytes to send.
 * load bulk PORT HELLO N SECONDS: N connections that fetch without end. Says bytes and seconds.
 * load rate PORT HELLO N COUNT: COUNT connections, N at a time, a byte each. Says how many a
 *   second, and the median microseconds.
 * load trip PORT HELLO COUNT: COUNT requests for a byte on one connection. Says the median
 *   microseconds.
 * load idle PORT HELLO N: N connections that fetched a byte each, until standard input ends. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/ssl.h>

#define PIECE (256 * 1024)
#define EVENTS 256
/* of common/net/relayframe.h */
#define HEAD_LEN 3
#define KEY_LEN 20
enum { TICKET = 1, WELCOME = 0x81, DIAL = 0x83 };

#define FD_MAX 65536

static uint8_t piece[PIECE];
static int port_to;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static double now_s(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int connect_to(int port)
{
    struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    int on = 1;
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&sin, sizeof sin) != 0)
        die("connect");
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

/* ---- the origin ------------------------------------------------------------------------------ */

struct conn {
    size_t hello_left, request_len;
    uint8_t request[8];
    uint64_t owed;
};

static struct conn conns[FD_MAX];
static int ep;

static void watch(int fd, size_t begins_with)
{
    struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP, .data.fd = fd };
    if (fd >= FD_MAX)
        die("descriptors");
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    conns[fd] = (struct conn){ .hello_left = begins_with };
    if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) != 0)
        die("epoll_ctl");
}

static void take_bytes(struct conn *c, const uint8_t *p, size_t n)
{
    size_t hello = n < c->hello_left ? n : c->hello_left;
    c->hello_left -= hello;
    for (size_t i = hello; i < n; i++) {
        c->request[c->request_len++] = p[i];
        if (c->request_len < sizeof c->request)
            continue;
        uint64_t want = 0;
        for (size_t k = 0; k < sizeof c->request; k++)
            want = want << 8 | c->request[k];
        c->owed += want;
        c->request_len = 0;
    }
}

static void serve(int fd)
{
    struct conn *c = &conns[fd];
    uint8_t in[4096];
    ssize_t n;
    while ((n = recv(fd, in, sizeof in, 0)) > 0)
        take_bytes(c, in, (size_t)n);
    if (n == 0 || errno != EAGAIN) {
        close(fd);
        return;
    }
    while (c->owed > 0) {
        n = send(fd, piece, c->owed < PIECE ? (size_t)c->owed : PIECE, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno != EAGAIN)
                close(fd);
            return;
        }
        c->owed -= (uint64_t)n;
    }
}

static int listen_at(int port)
{
    struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    int on = 1;
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&sin, sizeof sin) != 0 || listen(fd, 4096) != 0)
        die("listen");
    return fd;
}

/* ---- the device of a relay ------------------------------------------------------------------- */

static SSL *control;
static int data_port;
static size_t hello_len;

static void send_ticket(const char *ticket)
{
    uint8_t frame[512] = { TICKET };
    size_t len = strlen(ticket);
    frame[1] = (uint8_t)(len >> 8);
    frame[2] = (uint8_t)len;
    memcpy(frame + HEAD_LEN, ticket, len);
    if (SSL_write(control, frame, (int)(HEAD_LEN + len)) <= 0)
        die("ticket");
}

/* Until the relay's first frame, the welcome, is here. */
static int connect_control(int port, const char *cert, const char *key, const char *ticket)
{
    static const unsigned char ALPN[] = "\x0flanyard-relay/1";
    uint8_t first[HEAD_LEN + 2];
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    int fd = connect_to(port);
    if (ctx == NULL || SSL_CTX_use_certificate_file(ctx, cert, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_set_alpn_protos(ctx, ALPN, sizeof ALPN - 1) != 0)
        die("control");
    control = SSL_new(ctx);
    if (control == NULL || SSL_set_fd(control, fd) != 1 || SSL_connect(control) != 1)
        die("control");
    send_ticket(ticket);
    if (SSL_read(control, first, sizeof first) != sizeof first || first[0] != WELCOME)
        die("welcome");
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

/* The relay's call begins with the slot and the secret that it wants to see. */
static void dial_back(const uint8_t *call)
{
    uint8_t first[4 + KEY_LEN] = "LYD1";
    int fd = connect_to(data_port);
    memcpy(first + 4, call, KEY_LEN);
    if (send(fd, first, sizeof first, MSG_NOSIGNAL) != sizeof first)
        die("send");
    watch(fd, hello_len);
}

static void take_calls(void)
{
    static uint8_t in[65536];
    static size_t len;
    int n;
    while ((n = SSL_read(control, in + len, (int)(sizeof in - len))) > 0) {
        size_t at = 0, body;
        len += (size_t)n;
        for (; len - at >= HEAD_LEN; at += HEAD_LEN + body) {
            body = (size_t)(in[at + 1] << 8 | in[at + 2]);
            if (len - at < HEAD_LEN + body)
                break;
            if (in[at] == DIAL)
                dial_back(in + at + HEAD_LEN);
        }
        memmove(in, in + at, len - at);
        len -= at;
    }
    if (SSL_get_error(control, n) != SSL_ERROR_WANT_READ)
        exit(0); /* the relay is gone */
}

static void origin(int argc, char **argv)
{
    struct epoll_event evs[EVENTS], ev = { .events = EPOLLIN };
    int door = listen_at(port_to), calls = -1;
    ep = epoll_create1(EPOLL_CLOEXEC);
    ev.data.fd = door;
    (void)epoll_ctl(ep, EPOLL_CTL_ADD, door, &ev);
    hello_len = (size_t)atol(argv[3]);
    if (argc > 8) {
        data_port = atoi(argv[4]);
        calls = connect_control(atoi(argv[5]), argv[6], argv[7], argv[8]);
        ev.data.fd = calls;
        (void)epoll_ctl(ep, EPOLL_CTL_ADD, calls, &ev);
    }
    puts("ready");
    (void)fflush(stdout);
    for (;;) {
        int n = epoll_wait(ep, evs, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            int fd = evs[i].data.fd, c;
            if (fd == calls) {
                take_calls();
            } else if (fd == door) {
                while ((c = accept(door, NULL, NULL)) >= 0)
                    watch(c, hello_len);
            } else {
                serve(fd);
            }
        }
    }
}

/* ---- clients --------------------------------------------------------------------------------- */

static uint8_t hello[4096];
static size_t hello_length;
static double end_s;
static _Atomic uint64_t total;
static _Atomic long to_do;
static double *times;

static void request(int fd, uint64_t want)
{
    uint8_t b[8];
    for (int i = 0; i < 8; i++)
        b[i] = (uint8_t)(want >> 8 * (7 - i));
    if (send(fd, b, sizeof b, MSG_NOSIGNAL) != sizeof b)
        die("send");
}

/* Also waits for a byte. */
static int begin(void)
{
    uint8_t first[sizeof hello + 8], b;
    int fd = connect_to(port_to);
    memcpy(first, hello, hello_length);
    memset(first + hello_length, 0, 7);
    first[hello_length + 7] = 1;
    if (send(fd, first, hello_length + 8, MSG_NOSIGNAL) < 0 || recv(fd, &b, 1, 0) != 1)
        die("begin");
    return fd;
}

static void *fetch(void *arg)
{
    static __thread uint8_t in[PIECE];
    int fd = begin();
    (void)arg;
    request(fd, UINT64_MAX / 2);
    while (now_s() < end_s) {
        ssize_t n = recv(fd, in, sizeof in, MSG_TRUNC); /* thrown away by the kernel */
        if (n <= 0)
            die("recv");
        atomic_fetch_add_explicit(&total, (uint64_t)n, memory_order_relaxed);
    }
    close(fd);
    return NULL;
}

static void *come_and_go(void *arg)
{
    struct linger at_once = { 1, 0 }; /* no port stays behind in TIME-WAIT */
    long i;
    (void)arg;
    while ((i = atomic_fetch_sub(&to_do, 1)) > 0) {
        double t = now_s();
        int fd = begin();
        times[i - 1] = now_s() - t;
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close(fd);
    }
    return NULL;
}

static void in_threads(int n, void *(*fn)(void *))
{
    pthread_t threads[256];
    for (int i = 0; i < n; i++)
        (void)pthread_create(&threads[i], NULL, fn, NULL);
    for (int i = 0; i < n; i++)
        (void)pthread_join(threads[i], NULL);
}

static int by_value(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double median_us(long n)
{
    qsort(times, (size_t)n, sizeof *times, by_value);
    return times[n / 2] * 1e6;
}

static void trip(long n)
{
    int fd = begin();
    uint8_t b;
    for (long i = 0; i < n; i++) {
        double t = now_s();
        request(fd, 1);
        if (recv(fd, &b, 1, 0) != 1)
            die("recv");
        times[i] = now_s() - t;
    }
    printf("%.1f\n", median_us(n));
}

static void idle(int n)
{
    for (int i = 0; i < n; i++)
        (void)begin();
    puts("ready");
    (void)fflush(stdout);
    while (getchar() != EOF)
        ;
}

static void read_hello(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        die(path);
    hello_length = fread(hello, 1, sizeof hello, f);
    fclose(f);
}

int main(int argc, char **argv)
{
    struct rlimit r;
    (void)signal(SIGPIPE, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
        r.rlim_cur = r.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &r);
    }
    if (argc < 4)
        return 2;
    port_to = atoi(argv[2]);
    if (strcmp(argv[1], "origin") == 0) {
        origin(argc, argv);
        return 0;
    }
    read_hello(argv[3]);
    int n = argc > 4 ? atoi(argv[4]) : 1;
    long count = argc > 5 ? atol(argv[5]) : n;
    double start = now_s();
    times = calloc((size_t)(count > n ? count : n) + 1, sizeof *times);
    to_do = count;
    end_s = start + (double)count;
    if (strcmp(argv[1], "bulk") == 0) {
        in_threads(n, fetch);
        printf("%llu %.3f\n", (unsigned long long)total, now_s() - start);
    } else if (strcmp(argv[1], "rate") == 0) {
        in_threads(n, come_and_go);
        double took = now_s() - start;
        printf("%.0f %.1f\n", (double)count / took, median_us(count));
    } else if (strcmp(argv[1], "trip") == 0) {
        trip(n);
    } else {
        idle(n);
    }
    return 0;
}
