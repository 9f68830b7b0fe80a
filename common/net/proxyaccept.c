#include "common/net/proxyaccept.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/net/proxyproto.h"

struct proxyaccept {
    int fd;
    struct addr peer;
    struct event *ev;
    struct loop_timer *timer;
    size_t have, want; /* bytes */
    uint8_t bytes[PROXYPROTO_MAX];
    void (*fn)(void *arg, int fd, const struct addr *peer);
    void *arg;
};

static void finish(struct proxyaccept *p, const struct proxyproto *header)
{
    int fd = header != NULL ? p->fd : -1;
    struct addr peer = header != NULL && header->has_peer ? header->peer : p->peer;
    void (*fn)(void *arg, int fd, const struct addr *peer) = p->fn;
    void *arg = p->arg;
    if (fd >= 0)
        p->fd = -1; /* handed over */
    proxyaccept_free(p);
    fn(arg, fd, &peer);
}

static void proxyaccept_on_readable(struct proxyaccept *p)
{
    struct proxyproto header;
    while (p->have < p->want) {
        ssize_t n = read(p->fd, p->bytes + p->have, p->want - p->have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            finish(p, NULL);
            return;
        }
        p->have += (size_t)n;
        struct span head = { p->bytes, p->have };
        if (p->have == PROXYPROTO_HEAD && proxyproto_length(&p->want, head) != ERR_OK) {
            finish(p, NULL);
            return;
        }
    }
    bool good = proxyproto_parse(&header, (struct span){ p->bytes, p->have }) == ERR_OK;
    finish(p, good ? &header : NULL);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    proxyaccept_on_readable(arg);
}

static void on_timeout(void *arg)
{
    finish(arg, NULL);
}

enum err proxyaccept_new(struct proxyaccept **out, struct loop *l, int fd, const struct addr *peer,
                         int64_t timeout_ms, void (*fn)(void *arg, int fd, const struct addr *peer),
                         void *arg)
{
    struct proxyaccept *p = calloc(1, sizeof *p);
    if (p == NULL) {
        close(fd);
        return ERR_NOMEM;
    }
    p->fd = fd;
    p->peer = *peer;
    p->want = PROXYPROTO_HEAD;
    p->fn = fn;
    p->arg = arg;
    p->ev = event_new(loop_base(l), fd, EV_READ | EV_PERSIST, on_readable, p);
    if (p->ev == NULL || event_add(p->ev, NULL) != 0 ||
        loop_timer_new(&p->timer, l, on_timeout, p) != ERR_OK) {
        proxyaccept_free(p);
        return ERR_NOMEM;
    }
    loop_timer_set(p->timer, timeout_ms);
    *out = p;
    return ERR_OK;
}

void proxyaccept_free(struct proxyaccept *p)
{
    if (p == NULL)
        return;
    if (p->ev != NULL)
        event_free(p->ev);
    loop_timer_free(p->timer);
    if (p->fd >= 0)
        close(p->fd);
    free(p);
}
