#include "agent/routernews.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "agent/core/mapping.h"

#define PORT 5350
#define READS_MAX 16 /* before the rest of the loop gets its turn */

struct routernews {
    int fd;
    struct event *ev;
    void (*fn)(void *arg);
    void *arg;
};

static void read_news(struct routernews *r)
{
    uint8_t bytes[64];
    bool any = false;
    for (int i = 0; i < READS_MAX; i++) {
        ssize_t n = recv(r->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n < 0)
            break;
        any = any || mapping_is_news((struct span){ bytes, (size_t)n });
    }
    if (any)
        r->fn(r->arg);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    read_news(arg);
}

/* Bound to the group, so that nothing else comes in; every host is a member of it already. Several
 * programs may listen. */
static int open_socket(void)
{
    struct sockaddr_in group = { .sin_family = AF_INET,
                                 .sin_port = htons(PORT),
                                 .sin_addr.s_addr = htonl(INADDR_ALLHOSTS_GROUP) };
    static const int YES = 1;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &YES, sizeof YES) == 0 &&
        bind(fd, (struct sockaddr *)&group, sizeof group) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

enum err routernews_new(struct routernews **out, struct loop *l, void (*fn)(void *arg), void *arg)
{
    struct routernews *r = calloc(1, sizeof *r);
    if (r == NULL)
        return ERR_NOMEM;
    r->fn = fn;
    r->arg = arg;
    r->fd = open_socket();
    enum err e = r->fd < 0 ? ERR_UNAVAILABLE : ERR_OK;
    if (e == ERR_OK) {
        r->ev = event_new(loop_base(l), r->fd, EV_READ | EV_PERSIST, on_readable, r);
        if (r->ev == NULL || event_add(r->ev, NULL) != 0)
            e = ERR_NOMEM;
    }
    if (e != ERR_OK) {
        routernews_free(r);
        return e;
    }
    *out = r;
    return ERR_OK;
}

void routernews_free(struct routernews *r)
{
    if (r == NULL)
        return;
    if (r->ev != NULL)
        event_free(r->ev);
    if (r->fd >= 0)
        close(r->fd);
    free(r);
}
