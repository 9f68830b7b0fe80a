/* example.c - a TLS server with the Lanyard agent inside: one thread, one poll loop, and the
 * certificate changes under it without the loss of a connection. It sends back each byte it gets.
 *
 *     cc example.c $(pkg-config --cflags --libs lanyard-agent openssl) -o example
 *     ./example agent.conf 8443
 *
 * It is written to be read: a real server would also limit the handshake and idle clients. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <lanyard/agent.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#define CLIENTS_MAX 16

struct client {
    SSL *ssl;
    int fd; /* -1: free */
    short wants;
    char kept[4096]; /* read, and still to be sent back */
    int n_kept;
};

struct server {
    SSL_CTX *tls[2]; /* by enum lanyard_agent_kind; NULL: none yet */
    int64_t public_until;
    char suffix[256]; /* ".<id>.<zone>" */
    int listener;
    struct client clients[CLIENTS_MAX];
};

static volatile sig_atomic_t stopping;

static void on_signal(int signum)
{
    (void)signum;
    stopping = 1;
}

/* ---- certificates -----------------------------------------------------------------------------
 */

/* The public certificate for our names while it is valid, the device's own for all others. A new
 * connection begins with the latter. */
static int choose(SSL *ssl, int *alert, void *arg)
{
    struct server *s = arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    size_t n = name != NULL ? strlen(name) : 0, k = strlen(s->suffix);
    (void)alert;
    if (s->tls[LANYARD_AGENT_PUBLIC] != NULL && (int64_t)time(NULL) < s->public_until && n > k &&
        strcasecmp(name + n - k, s->suffix) == 0)
        (void)SSL_set_SSL_CTX(ssl, s->tls[LANYARD_AGENT_PUBLIC]);
    return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *make_tls(struct server *s, const struct lanyard_agent_certificate *c)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    BIO *chain = BIO_new_mem_buf(c->chain_pem, -1), *secret = BIO_new_mem_buf(c->key_pem, -1);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(secret, NULL, NULL, NULL);
    X509 *leaf = PEM_read_bio_X509(chain, NULL, NULL, NULL), *next;
    int ok = SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION) == 1 &&
             SSL_CTX_use_certificate(tls, leaf) == 1 && SSL_CTX_use_PrivateKey(tls, key) == 1;
    while (ok && (next = PEM_read_bio_X509(chain, NULL, NULL, NULL)) != NULL)
        ok = SSL_CTX_add0_chain_cert(tls, next) == 1;
    (void)SSL_CTX_set_tlsext_servername_callback(tls, choose);
    (void)SSL_CTX_set_tlsext_servername_arg(tls, s);
    X509_free(leaf);
    EVP_PKEY_free(key);
    BIO_free(chain);
    BIO_free(secret);
    if (!ok) {
        SSL_CTX_free(tls);
        tls = NULL;
    }
    return tls;
}

/* Connections keep the context that they began with: dropping ours ends none of them. */
static void on_certificate(void *arg, const struct lanyard_agent_certificate *c)
{
    struct server *s = arg;
    SSL_CTX *tls = make_tls(s, c);
    if (tls == NULL) {
        (void)fprintf(stderr, "example: the new certificate cannot be used\n");
        return;
    }
    SSL_CTX_free(s->tls[c->kind]);
    s->tls[c->kind] = tls;
    (void)snprintf(s->suffix, sizeof s->suffix, "%s", c->name + 1);
    if (c->kind == LANYARD_AGENT_PUBLIC)
        s->public_until = c->not_after;
    (void)printf("certificate %s\n", c->kind == LANYARD_AGENT_PUBLIC ? "public" : "local");
    (void)fflush(stdout);
}

static void on_state(void *arg, const char *json)
{
    (void)arg;
    (void)printf("state %s\n", json);
    (void)fflush(stdout);
}

/* ---- clients ----------------------------------------------------------------------------------
 */

static void drop(struct client *c)
{
    SSL_free(c->ssl);
    close(c->fd);
    *c = (struct client){ .fd = -1 };
}

/* Sees what OpenSSL waits for; anything that is no waiting is the end of the client. */
static void wait_or_drop(struct client *c, int rc)
{
    int why = SSL_get_error(c->ssl, rc);
    if (why == SSL_ERROR_WANT_READ)
        c->wants = POLLIN;
    else if (why == SSL_ERROR_WANT_WRITE)
        c->wants = POLLOUT;
    else
        drop(c);
}

/* The handshake is done by the first read. */
static void serve(struct client *c)
{
    for (;;) {
        ERR_clear_error(); /* SSL_get_error() looks at what others left there, too */
        int n = c->n_kept > 0 ? SSL_write(c->ssl, c->kept, c->n_kept)
                              : SSL_read(c->ssl, c->kept, (int)sizeof c->kept);
        if (n <= 0) {
            wait_or_drop(c, n);
            return;
        }
        c->n_kept = c->n_kept > 0 ? 0 : n;
    }
}

static void welcome(struct server *s)
{
    int fd = accept(s->listener, NULL, NULL);
    if (fd < 0)
        return;
    for (size_t i = 0; i < CLIENTS_MAX && s->tls[LANYARD_AGENT_LOCAL] != NULL; i++) {
        struct client *c = &s->clients[i];
        if (c->fd >= 0)
            continue;
        c->fd = fd;
        c->wants = POLLIN;
        c->ssl = SSL_new(s->tls[LANYARD_AGENT_LOCAL]);
        (void)fcntl(fd, F_SETFL, O_NONBLOCK);
        if (c->ssl == NULL || SSL_set_fd(c->ssl, fd) != 1) {
            drop(c);
            return;
        }
        SSL_set_accept_state(c->ssl);
        return;
    }
    close(fd);
}

/* ---- the loop ---------------------------------------------------------------------------------
 */

/* Signals come with the mask `open` only: none is lost between a look at `stopping` and the wait.
 */
static void run(struct server *s, struct lanyard_agent *agent, const sigset_t *open)
{
    while (!stopping) {
        struct pollfd fds[CLIENTS_MAX + 2];
        fds[0] = (struct pollfd){ .fd = lanyard_agent_fd(agent), .events = POLLIN };
        fds[1] = (struct pollfd){ .fd = s->listener, .events = POLLIN };
        for (size_t i = 0; i < CLIENTS_MAX; i++)
            fds[i + 2] = (struct pollfd){ .fd = s->clients[i].fd, .events = s->clients[i].wants };
        int wait_ms = lanyard_agent_next_timeout_ms(agent);
        struct timespec wait = { wait_ms / 1000, wait_ms % 1000 * 1000000L };
        if (ppoll(fds, CLIENTS_MAX + 2, wait_ms < 0 ? NULL : &wait, open) < 0)
            continue; /* a signal */
        lanyard_agent_process(agent);
        for (size_t i = 0; i < CLIENTS_MAX; i++) {
            if (fds[i + 2].revents != 0)
                serve(&s->clients[i]);
        }
        if ((fds[1].revents & POLLIN) != 0)
            welcome(s);
    }
}

static int listen_on(const char *port)
{
    struct sockaddr_in at = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)atoi(port)),
                              .sin_addr = { htonl(INADDR_ANY) } };
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
                    bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 64) != 0)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

int main(int argc, char **argv)
{
    static struct server s;
    struct lanyard_agent *agent;
    struct lanyard_agent_callbacks callbacks = { sizeof callbacks, on_certificate, on_state, &s };
    char error[256];
    if (argc != 3) {
        (void)fprintf(stderr, "usage: example AGENT.CONF PORT\n");
        return 2;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    sigset_t stops, before;
    (void)sigemptyset(&stops);
    (void)sigaddset(&stops, SIGTERM);
    (void)sigaddset(&stops, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &stops, &before);
    (void)signal(SIGTERM, on_signal);
    (void)signal(SIGINT, on_signal);
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        s.clients[i].fd = -1;
    s.listener = listen_on(argv[2]);
    if (s.listener < 0) {
        (void)fprintf(stderr, "example: port %s: %s\n", argv[2], strerror(errno));
        return 1;
    }
    if (lanyard_agent_new(&agent, argv[1], &callbacks, error, sizeof error) != 0) {
        (void)fprintf(stderr, "example: %s\n", error);
        return 1;
    }
    run(&s, agent, &before);
    lanyard_agent_free(agent);
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        if (s.clients[i].fd >= 0)
            drop(&s.clients[i]);
    }
    for (size_t i = 0; i < 2; i++)
        SSL_CTX_free(s.tls[i]);
    close(s.listener);
    return 0;
}
