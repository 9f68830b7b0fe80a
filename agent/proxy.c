#include "agent/proxy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "agent/tunnel.h"
#include "common/base/log.h"

#define ACCEPTS_PER_CALL 32
#define PAUSE_MS 500 /* after the system ran out of descriptors or memory */

struct proxy {
    struct loop *loop;
    int fd;
    struct event *ev;
    struct loop_timer *pause;
    bool listening;
    SSL_CTX *tls;           /* NULL: no certificate yet */
    struct proxy_options o; /* without its label, which is the caller's */
    char *label;
    struct tunnel_options tunnel;
    struct tunnel *tunnels;
    size_t n_adopted; /* of those open: came another way */
    struct proxy_counters n;
    bool starved;      /* out of descriptors: logged once */
    bool backend_down; /* the last connection found it so: logged once */
};

static void set_listening(struct proxy *p, bool on)
{
    if (on == p->listening)
        return;
    if (on ? event_add(p->ev, NULL) == 0 : event_del(p->ev) == 0)
        p->listening = on;
}

static void note_backend(struct proxy *p, bool down)
{
    if (down && !p->backend_down)
        log_warn("proxy %s: the backend does not accept connections: is it running?", p->label);
    else if (!down && p->backend_down)
        log_info("proxy %s: the backend accepts connections again", p->label);
    p->backend_down = down;
}

static void on_end(void *arg, struct tunnel *t, enum tunnel_end why, uint64_t up, uint64_t down)
{
    struct proxy *p = arg;
    tunnel_unlink(&p->tunnels, t);
    p->n.open--;
    p->n.bytes_up += up;
    p->n.bytes_down += down;
    p->n.handshake_failures += why == TUNNEL_HANDSHAKE;
    p->n.backend_failures += why == TUNNEL_BACKEND;
    p->n.aborted += why == TUNNEL_ABORTED;
    p->n.idle_closed += why == TUNNEL_IDLE;
    if (why != TUNNEL_HANDSHAKE)
        note_backend(p, why == TUNNEL_BACKEND);
    set_listening(p, true);
}

static void on_adopted_end(void *arg, struct tunnel *t, enum tunnel_end why, uint64_t up,
                           uint64_t down)
{
    struct proxy *p = arg;
    p->n_adopted--;
    on_end(p, t, why, up, down);
}

static void on_pause_over(void *arg)
{
    struct proxy *p = arg;
    set_listening(p, p->n.open < p->o.connections_max);
}

static bool start_tunnel(struct proxy *p, int fd, const struct tunnel_options *o,
                         const struct tunnel_ends *ends)
{
    if (p->tls == NULL) {
        close(fd);
        p->n.refused++;
        return false;
    }
    struct tunnel *t;
    if (tunnel_new(&t, p->loop, fd, p->tls, o, ends) != ERR_OK)
        return false;
    tunnel_link(&p->tunnels, t);
    p->n.accepted++;
    p->n.open++;
    return true;
}

bool proxy_adopt(struct proxy *p, int fd, const struct tunnel_ends *ends)
{
    struct tunnel_options o = p->tunnel;
    o.on_end = on_adopted_end;
    if (p->n.open >= p->o.connections_max || p->n_adopted >= (p->o.connections_max + 1) / 2) {
        close(fd);
        p->n.refused++;
        return false;
    }
    bool good = start_tunnel(p, fd, &o, ends);
    p->n_adopted += good;
    return good;
}

static void accept_some(struct proxy *p)
{
    for (int i = 0; i < ACCEPTS_PER_CALL && p->n.open < p->o.connections_max; i++) {
        int fd = accept4(p->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            p->starved = false;
            (void)start_tunnel(p, fd, &p->tunnel, NULL);
        } else if (errno == EAGAIN) {
            return;
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            /* the waiting client would wake us again and again: look away for a while */
            if (!p->starved)
                log_warn("proxy %s: cannot accept: %s", p->label, strerror(errno));
            p->starved = true;
            set_listening(p, false);
            loop_timer_set(p->pause, PAUSE_MS);
            return;
        }
    }
    if (p->n.open >= p->o.connections_max)
        set_listening(p, false);
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    accept_some(arg);
}

enum err proxy_new(struct proxy **out, struct loop *l, int fd, const struct proxy_options *o)
{
    struct proxy *p = calloc(1, sizeof *p);
    if (p == NULL)
        return ERR_NOMEM;
    p->loop = l;
    p->fd = -1;
    p->o = *o;
    p->o.label = NULL;
    p->label = strdup(o->label);
    p->tunnel = (struct tunnel_options){
        .backend = &p->o.backend,
        .backend_len = o->backend_len,
        .proxy_protocol = o->proxy_protocol,
        .alpn = &p->o.alpn,
        .handshake_ms = o->handshake_ms,
        .connect_ms = o->connect_ms,
        .idle_ms = o->idle_ms,
        .half_ms = o->half_ms,
        .on_end = on_end,
        .arg = p,
    };
    p->ev = event_new(loop_base(l), fd, EV_READ | EV_PERSIST, on_accept, p);
    if (p->label == NULL || p->ev == NULL ||
        loop_timer_new(&p->pause, l, on_pause_over, p) != ERR_OK) {
        proxy_free(p);
        return ERR_NOMEM;
    }
    p->fd = fd;
    set_listening(p, true);
    *out = p;
    return ERR_OK;
}

void proxy_set_tls(struct proxy *p, SSL_CTX *tls)
{
    if (tls != NULL)
        (void)SSL_CTX_up_ref(tls);
    SSL_CTX_free(p->tls);
    p->tls = tls;
}

struct proxy_counters proxy_counters(const struct proxy *p)
{
    return p->n;
}

void proxy_free(struct proxy *p)
{
    if (p == NULL)
        return;
    while (p->tunnels != NULL) {
        struct tunnel *t = p->tunnels;
        tunnel_unlink(&p->tunnels, t);
        tunnel_free(t);
    }
    if (p->ev != NULL)
        event_free(p->ev);
    loop_timer_free(p->pause);
    if (p->fd >= 0)
        close(p->fd);
    SSL_CTX_free(p->tls);
    free(p->label);
    free(p);
}
