#include "agent/ask.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

#include "agent/core/tries.h"
#include "common/base/secret.h"
#include "common/dns/wire.h"

#define UDP_MAX 4096
#define READS_MAX 32 /* before the rest of the loop gets its turn */

struct ask {
    struct loop *loop;
    struct loop_timer *timer; /* the end of a try, or of all */
    struct addr server;
    struct lookup q;
    const struct name *zone;
    ask_done *fn;
    void *arg;
    uint8_t query[2 + LOOKUP_QUERY_MAX]; /* with the length that TCP wants in front */
    size_t len;                          /* without it */
    struct tries tries;
    int fd; /* -1: none */
    struct event *ev;
    struct bufferevent *tcp; /* NULL until truncated */
};

static void finish(struct ask *a, const struct lookup_reply *reply)
{
    ask_done *fn = a->fn;
    void *arg = a->arg;
    struct lookup_reply copy;
    if (reply != NULL)
        copy = *reply;
    ask_cancel(a);
    fn(arg, reply != NULL ? &copy : NULL);
}

/* ---- TCP [RFC 7766] -------------------------------------------------------------------------- */

static void read_tcp(struct ask *a)
{
    struct evbuffer *in = bufferevent_get_input(a->tcp);
    uint8_t head[2];
    struct lookup_reply reply;
    if (evbuffer_copyout(in, head, sizeof head) < (ev_ssize_t)sizeof head)
        return;
    size_t len = wire_load16(head);
    if (evbuffer_get_length(in) < sizeof head + len)
        return;
    const uint8_t *p = evbuffer_pullup(in, (ev_ssize_t)(sizeof head + len));
    bool good = p != NULL && lookup_read(&reply, &a->q, a->zone,
                                         (struct span){ p + sizeof head, len }) == ERR_OK;
    finish(a, good && !reply.truncated ? &reply : NULL);
}

static void on_tcp_read(struct bufferevent *bev, void *arg)
{
    (void)bev;
    read_tcp(arg);
}

static void on_tcp_event(struct bufferevent *bev, short what, void *arg)
{
    (void)bev;
    if ((what & BEV_EVENT_CONNECTED) == 0)
        finish(arg, NULL);
}

static void ask_again_by_tcp(struct ask *a)
{
    event_free(a->ev);
    a->ev = NULL;
    close(a->fd);
    a->fd = -1;
    a->tcp = bufferevent_socket_new(loop_base(a->loop), -1,
                                    BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
    if (a->tcp == NULL)
        return; /* the timer ends it */
    wire_store16(a->query, (unsigned)a->len);
    bufferevent_setcb(a->tcp, on_tcp_read, NULL, on_tcp_event, a);
    bufferevent_setwatermark(a->tcp, EV_READ, 0, 2 + DNS_TCP_LEN);
    (void)bufferevent_enable(a->tcp, EV_READ | EV_WRITE);
    (void)bufferevent_write(a->tcp, a->query, 2 + a->len);
    (void)bufferevent_socket_connect(a->tcp, (struct sockaddr *)&a->server.ss, (int)a->server.len);
}

/* ---- what comes next --------------------------------------------------------------------------
 */

/* May end the question. */
static void step(struct ask *a, enum tries_event event)
{
    int64_t wait_ms = 0;
    switch (tries_next(&a->tries, event, &wait_ms)) {
    case TRIES_SEND:
        loop_timer_set(a->timer, wait_ms);
        (void)send(a->fd, a->query + 2, a->len, 0);
        break;
    case TRIES_TCP:
        loop_timer_set(a->timer, wait_ms);
        ask_again_by_tcp(a);
        break;
    case TRIES_WAIT:
        break;
    case TRIES_END:
        finish(a, NULL);
        break;
    }
}

static void on_timer(void *arg)
{
    struct ask *a = arg;
    step(a, a->fd < 0 && a->tcp == NULL ? TRIES_NO_WAY : TRIES_DUE);
}

/* ---- UDP ------------------------------------------------------------------------------------- */

/* What is no answer to this question is not there. */
static void read_udp(struct ask *a)
{
    uint8_t bytes[UDP_MAX];
    struct lookup_reply reply;
    for (int i = 0; i < READS_MAX; i++) {
        ssize_t n = recv(a->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            if (errno == ECONNREFUSED)
                step(a, TRIES_REFUSED);
            return; /* what else is there, the loop says again */
        }
        if (lookup_read(&reply, &a->q, a->zone, (struct span){ bytes, (size_t)n }) != ERR_OK)
            continue;
        if (reply.truncated)
            step(a, TRIES_TRUNCATED);
        else
            finish(a, &reply);
        return;
    }
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    read_udp(arg);
}

/* A connected socket hears nobody but the server. */
static bool open_udp(struct ask *a)
{
    a->fd = socket(a->server.ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (a->fd < 0)
        return false;
    if (connect(a->fd, (struct sockaddr *)&a->server.ss, a->server.len) != 0) {
        close(a->fd); /* no way there: the first turn of the timer says so */
        a->fd = -1;
        return true;
    }
    a->ev = event_new(loop_base(a->loop), a->fd, EV_READ | EV_PERSIST, on_readable, a);
    return a->ev != NULL && event_add(a->ev, NULL) == 0;
}

enum err ask_start(struct ask **out, struct loop *l, const struct addr *server,
                   const struct lookup *q, const struct name *zone, ask_done *fn, void *arg)
{
    struct ask *a = calloc(1, sizeof *a);
    if (a == NULL)
        return ERR_NOMEM;
    a->loop = l;
    a->server = *server;
    a->q = *q;
    a->zone = zone;
    a->fn = fn;
    a->arg = arg;
    a->fd = -1;
    secret_random(&a->q.id, sizeof a->q.id);
    a->len = lookup_write(&a->q, a->query + 2);
    if (loop_timer_new(&a->timer, l, on_timer, a) != ERR_OK || !open_udp(a)) {
        ask_cancel(a);
        return ERR_NOMEM;
    }
    loop_timer_set(a->timer, 0); /* sends */
    *out = a;
    return ERR_OK;
}

void ask_cancel(struct ask *a)
{
    if (a == NULL)
        return;
    if (a->ev != NULL)
        event_free(a->ev);
    if (a->tcp != NULL)
        bufferevent_free(a->tcp);
    if (a->fd >= 0)
        close(a->fd);
    loop_timer_free(a->timer);
    free(a);
}
