#include "agent/netwatch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include "agent/config.h"
#include "agent/core/netprint.h"
#include "agent/interfaces.h"
#include "agent/resolvers.h"
#include "common/base/clock.h"
#include "common/base/log.h"

#define BURST_FACTOR 2
#define READS_MAX 64 /* before the rest of the loop gets its turn */

struct netwatch {
    int fd;
    struct event *ev;
    struct loop_timer *timer;
    int64_t quiet_ms;
    int64_t first_ms; /* monotonic: first change of the burst; 0 when none is under way */
    struct netprint print;
    void (*fn)(void *arg);
    void *arg;
};

static struct netprint take_print(void)
{
    /* the system's resolvers, even if the configuration names others to look at */
    static const struct config AUTO = { .resolvers_auto = true };
    static const unsigned FAMILIES[] = { 4, 6 };
    struct worth_address own[INTERFACES_MAX];
    struct resolver resolvers[VERDICT_RESOLVERS_MAX];
    struct netprint p = { 0 };
    size_t n_own = interfaces_list(own, INTERFACES_MAX);
    size_t n_resolvers = resolvers_list(&AUTO, resolvers);
    for (size_t i = 0; i < n_own; i++)
        netprint_add_address(&p, &own[i]);
    for (size_t i = 0; i < ARRAY_LEN(FAMILIES); i++) {
        struct interfaces_way way = interfaces_way_out(FAMILIES[i]);
        netprint_add_way(&p, way.link, &way.gateway, &way.own);
    }
    for (size_t i = 0; i < n_resolvers; i++) {
        char text[ADDR_TEXT_MAX];
        addr_format(&resolvers[i].addr, text);
        netprint_add_resolver(&p, text);
    }
    return p;
}

/* A router advertisement that prolongs an address makes a message, too, and so do containers that
 * come and go. */
static void on_quiet(void *arg)
{
    struct netwatch *w = arg;
    struct netprint now = take_print();
    bool changed = now.sum != w->print.sum;
    w->first_ms = 0;
    w->print = now;
    if (changed)
        w->fn(w->arg);
    else
        log_debug("the kernel told of addresses or routes, and the network is as it was");
}

static void note_change(struct netwatch *w)
{
    int64_t now_ms = clock_mono_ms(), wait_ms = w->quiet_ms;
    if (w->first_ms == 0)
        w->first_ms = now_ms;
    int64_t left_ms = w->first_ms + BURST_FACTOR * w->quiet_ms - now_ms;
    if (wait_ms > left_ms)
        wait_ms = left_ms > 0 ? left_ms : 0;
    loop_timer_set(w->timer, wait_ms);
}

/* What the messages say is not looked at: the system is asked for all of it. */
static void read_messages(struct netwatch *w)
{
    char bytes[8192];
    bool any = false;
    for (int i = 0; i < READS_MAX; i++) {
        ssize_t n = recv(w->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        /* ENOBUFS: the kernel had more to say than the socket could hold, so there was a change */
        if (n <= 0 && !(n < 0 && errno == ENOBUFS))
            break;
        any = true;
    }
    if (any)
        note_change(w);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    read_messages(arg);
}

static enum err open_socket(int *out, struct err_info *info)
{
    struct sockaddr_nl sa = { .nl_family = AF_NETLINK,
                              .nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
                                           RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE };
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&sa, sizeof sa) == 0) {
        *out = fd;
        return ERR_OK;
    }
    enum err e =
        err_set(info, ERR_UNAVAILABLE, "changes of addresses are not noticed: %s", strerror(errno));
    if (fd >= 0)
        close(fd);
    return e;
}

enum err netwatch_new(struct netwatch **out, struct loop *l, int64_t quiet_ms,
                      void (*fn)(void *arg), void *arg, struct err_info *info)
{
    struct netwatch *w = calloc(1, sizeof *w);
    if (w == NULL)
        return err_set(info, ERR_NOMEM, "out of memory");
    w->fd = -1;
    w->quiet_ms = quiet_ms;
    w->fn = fn;
    w->arg = arg;
    enum err e = open_socket(&w->fd, info);
    if (e == ERR_OK) {
        w->ev = event_new(loop_base(l), w->fd, EV_READ | EV_PERSIST, on_readable, w);
        if (w->ev == NULL || event_add(w->ev, NULL) != 0 ||
            loop_timer_new(&w->timer, l, on_quiet, w) != ERR_OK)
            e = err_set(info, ERR_NOMEM, "out of memory");
    }
    if (e != ERR_OK) {
        netwatch_free(w);
        return e;
    }
    w->print = take_print(); /* from here on there are messages */
    *out = w;
    return ERR_OK;
}

void netwatch_free(struct netwatch *w)
{
    if (w == NULL)
        return;
    if (w->ev != NULL)
        event_free(w->ev);
    loop_timer_free(w->timer);
    if (w->fd >= 0)
        close(w->fd);
    free(w);
}
