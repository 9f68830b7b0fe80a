#include "provisiond/relay/acceptor.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/base/clock.h"
#include "common/base/log.h"

#define ACCEPTS_PER_CALL 64
#define PAUSE_MS 200
#define TELL_EVERY_MS 60000

struct acceptor {
    int fd;
    struct event *ev;
    struct loop_timer *pause;
    acceptor_fn *fn;
    void *arg;
    int64_t told_ms; /* when this was last logged; 0: never */
};

static void look_away(struct acceptor *a)
{
    int errnum = errno;
    int64_t now_ms = clock_mono_ms();
    if (a->told_ms == 0 || now_ms - a->told_ms >= TELL_EVERY_MS) {
        log_warn("cannot accept: %s; raise the limit of open files", strerror(errnum));
        a->told_ms = now_ms;
    }
    (void)event_del(a->ev);
    loop_timer_set(a->pause, PAUSE_MS);
}

static void accept_some(struct acceptor *a)
{
    for (int i = 0; i < ACCEPTS_PER_CALL; i++) {
        struct addr peer = { .len = sizeof peer.ss };
        int fd =
            accept4(a->fd, (struct sockaddr *)&peer.ss, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            a->fn(a->arg, fd, &peer);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            look_away(a);
            return;
        } else if (errno == EAGAIN) {
            return;
        }
    }
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    accept_some(arg);
}

static void on_pause_over(void *arg)
{
    struct acceptor *a = arg;
    (void)event_add(a->ev, NULL);
}

enum err acceptor_new(struct acceptor **out, struct loop *l, int fd, int defer_s, acceptor_fn *fn,
                      void *arg)
{
    struct acceptor *a = calloc(1, sizeof *a);
    if (a == NULL)
        return ERR_NOMEM;
    *a = (struct acceptor){ .fd = -1, .fn = fn, .arg = arg };
    a->ev = event_new(loop_base(l), fd, EV_READ | EV_PERSIST, on_accept, a);
    if (a->ev == NULL || loop_timer_new(&a->pause, l, on_pause_over, a) != ERR_OK ||
        event_add(a->ev, NULL) != 0) {
        acceptor_free(a);
        return ERR_NOMEM;
    }
    if (defer_s > 0)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &defer_s, sizeof defer_s);
    a->fd = fd;
    *out = a;
    return ERR_OK;
}

void acceptor_free(struct acceptor *a)
{
    if (a == NULL)
        return;
    if (a->ev != NULL)
        event_free(a->ev);
    loop_timer_free(a->pause);
    if (a->fd >= 0)
        close(a->fd);
    free(a);
}
