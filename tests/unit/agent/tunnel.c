/* The timer of a tunnel, which is a deadline but for a moment: over real sockets, with the client
 * in the same thread, so that what happens between two turns of the loop is the test's choice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>
#include <openssl/ssl.h>

#include "agent/core/alpn.h"
#include "agent/tunnel.h"
#include "common/base/clock.h"
#include "common/pki/key.h"
#include "tests/lib/testcert.h"

#define HALF_MS 400
#define BYTES                                                                                      \
    (280 * 1024) /* a turn of the loop moves 256 KiB; the rest and the end fit in another */
#define PATIENCE_MS 60000
#define ROOM (4 * 1024 * 1024)

struct fixture {
    struct loop *loop;
    struct tunnel *tunnel; /* NULL: has ended */
    enum tunnel_end why;
    bool too_late;
    SSL *client;
    int listener, client_fd, backend_fd;
    struct sockaddr_storage backend;
};

static void on_end(void *arg, struct tunnel *t, enum tunnel_end why, uint64_t up, uint64_t down)
{
    struct fixture *fx = arg;
    (void)t;
    (void)up;
    (void)down;
    fx->tunnel = NULL;
    fx->why = why;
}

static void on_too_late(void *arg)
{
    struct fixture *fx = arg;
    fx->too_late = true;
}

static void turn(const struct fixture *fx)
{
    (void)event_base_loop(loop_base(fx->loop), EVLOOP_ONCE | EVLOOP_NONBLOCK);
}

/* A socket of loopback that listens, with room for all that is sent. */
static int listen_somewhere(struct sockaddr_storage *at)
{
    struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof sin;
    int room = ROOM, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    assert_int_equal(bind(fd, (struct sockaddr *)&sin, sizeof sin), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
    memcpy(at, &sin, sizeof sin);
    return fd;
}

static int accept_one(const struct fixture *fx, int listener)
{
    int64_t end_ms = clock_mono_ms() + PATIENCE_MS;
    int fd = -1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) < 0) {
        assert_true(errno == EAGAIN && clock_mono_ms() < end_ms);
        turn(fx);
    }
    return fd;
}

static SSL_CTX *make_server(void)
{
    EVP_PKEY *key = NULL;
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    assert_int_equal(key_new(&key, KEY_P256), ERR_OK);
    X509 *cert = testcert_new(key, "IP:127.0.0.1", -60, 3600);
    assert_int_equal(SSL_CTX_use_certificate(tls, cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(tls, key), 1);
    X509_free(cert);
    EVP_PKEY_free(key);
    return tls;
}

/* A client whose handshake is done, and the backend that it was led to. */
static void connect_both(struct fixture *fx, SSL_CTX *server, SSL_CTX *client)
{
    struct sockaddr_storage door;
    int room = ROOM, listener = listen_somewhere(&door);
    int64_t end_ms = clock_mono_ms() + PATIENCE_MS;
    fx->listener = listen_somewhere(&fx->backend);
    fx->client_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)setsockopt(fx->client_fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    assert_int_equal(connect(fx->client_fd, (struct sockaddr *)&door, sizeof(struct sockaddr_in)),
                     0);
    assert_int_equal(fcntl(fx->client_fd, F_SETFL, O_NONBLOCK), 0);
    const struct tunnel_options o = { .backend = &fx->backend,
                                      .backend_len = sizeof(struct sockaddr_in),
                                      .alpn = &ALPN_HTTP1,
                                      .handshake_ms = PATIENCE_MS,
                                      .connect_ms = PATIENCE_MS,
                                      .idle_ms = PATIENCE_MS,
                                      .half_ms = HALF_MS,
                                      .on_end = on_end,
                                      .arg = fx };
    int fd = accept_one(fx, listener);
    assert_int_equal(tunnel_new(&fx->tunnel, fx->loop, fd, server, &o, NULL), ERR_OK);
    close(listener);
    fx->client = SSL_new(client);
    assert_int_equal(SSL_set_fd(fx->client, fx->client_fd), 1);
    while (SSL_connect(fx->client) != 1) {
        assert_true(clock_mono_ms() < end_ms);
        turn(fx);
    }
    fx->backend_fd = accept_one(fx, fx->listener);
    for (int i = 0; i < 3; i++) /* the tunnel sees that it is connected */
        turn(fx);
}

/* Everything that the client has to say waits in the kernel before the tunnel looks. */
static void send_all(const struct fixture *fx)
{
    static uint8_t bytes[BYTES];
    size_t sent = 0, n = 0;
    int64_t end_ms = clock_mono_ms() + PATIENCE_MS;
    while (sent < sizeof bytes) {
        assert_true(clock_mono_ms() < end_ms);
        if (SSL_write_ex(fx->client, bytes + sent, sizeof bytes - sent, &n) == 1)
            sent += n;
        else
            turn(fx); /* no room for all of it in this machine's kernel */
    }
}

/* True at the end of what the backend gets. */
static bool drain(const struct fixture *fx)
{
    uint8_t bytes[65536];
    ssize_t n;
    while ((n = recv(fx->backend_fd, bytes, sizeof bytes, 0)) > 0)
        continue;
    return n == 0;
}

/* The client's end comes while the timer stands for "go on": from then on it is a deadline again,
 * and not one that begins anew when it is over. */
static void test_end_before_going_on(void **state)
{
    struct fixture fx = { .listener = -1, .client_fd = -1, .backend_fd = -1 };
    struct loop_timer *limit = NULL;
    SSL_CTX *server = make_server(), *client = SSL_CTX_new(TLS_client_method());
    int64_t end_ms = clock_mono_ms() + PATIENCE_MS;
    (void)state;
    (void)SSL_CTX_set_mode(client,
                           SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    assert_int_equal(loop_new(&fx.loop), ERR_OK);
    assert_int_equal(loop_timer_new(&limit, fx.loop, on_too_late, &fx), ERR_OK);
    connect_both(&fx, server, client);
    send_all(&fx);
    turn(&fx); /* as much as one turn moves */
    (void)SSL_shutdown(fx.client);
    assert_int_equal(shutdown(fx.client_fd, SHUT_WR), 0);
    while (!drain(&fx)) {
        assert_true(clock_mono_ms() < end_ms);
        turn(&fx);
    }
    /* armed after the tunnel's own, which must be over first, on however slow a machine */
    loop_timer_set(limit, HALF_MS + HALF_MS / 2);
    while (fx.tunnel != NULL && !fx.too_late)
        (void)event_base_loop(loop_base(fx.loop), EVLOOP_ONCE);
    assert_null(fx.tunnel);
    assert_int_equal(fx.why, TUNNEL_IDLE);
    tunnel_free(fx.tunnel);
    SSL_free(fx.client);
    close(fx.client_fd);
    close(fx.backend_fd);
    close(fx.listener);
    loop_timer_free(limit);
    loop_free(fx.loop);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_end_before_going_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
