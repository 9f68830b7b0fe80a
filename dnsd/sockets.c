#include "dnsd/sockets.h"

#include <stdlib.h>
#include <unistd.h>

#include "common/net/listen.h"
#include "dnsd/activation.h"
#include "dnsd/udp.h"

/* A listening TCP socket for each address of `l`. They are not shared, so that another dnsd on the
 * port is noticed. */
static enum err open_tcp(int *fds, size_t *n, const struct config_listens *l, const char *option,
                         struct activation *passed, struct err_info *info)
{
    struct err_info why;
    for (*n = 0; *n < l->n; (*n)++) {
        const struct addr *a = &l->at[*n].addr;
        fds[*n] = activation_get(passed, a, SOCK_STREAM, 0);
        if (fds[*n] < 0 && listen_tcp(&fds[*n], a, false, &why) != ERR_OK)
            return err_set(info, ERR_CONFIG, "%s: %s: %s", l->where, option, why.text);
    }
    return ERR_OK;
}

static enum err open_udp(struct sockets *s, const struct config *c, struct activation *passed,
                         struct err_info *info)
{
    struct err_info why;
    const struct config_listens *l = &c->listen;
    for (s->n_udp = 0; s->n_udp < l->n * c->n_workers; s->n_udp++) {
        const struct addr *a = &l->at[s->n_udp % l->n].addr;
        int fd = activation_get(passed, a, SOCK_DGRAM, (unsigned)(s->n_udp / l->n));
        enum err e = fd >= 0 ? udp_adopt(fd, a, &why) : udp_open(&fd, a, &why);
        if (e != ERR_OK)
            return err_set(info, ERR_CONFIG, "%s: listen: %s", l->where, why.text);
        s->udp[s->n_udp] = fd;
    }
    return ERR_OK;
}

/* Gives the queues of all interfaces to the workers in turn. */
static enum err share_queues(struct sockets *s, const struct config *c)
{
    size_t n = 0, next = 0;
    for (size_t i = 0; i < s->n_xdp; i++)
        n += xdp_n_queues(s->xdp[i]);
    s->n_queues = calloc(c->n_workers, sizeof *s->n_queues);
    s->queues = calloc(c->n_workers, sizeof *s->queues);
    if (s->n_queues == NULL || s->queues == NULL)
        return ERR_NOMEM;
    for (; s->n_workers < c->n_workers; s->n_workers++) {
        if ((s->queues[s->n_workers] = calloc(n + 1, sizeof **s->queues)) == NULL)
            return ERR_NOMEM;
    }
    for (size_t i = 0; i < s->n_xdp; i++) {
        for (size_t k = 0; k < xdp_n_queues(s->xdp[i]); k++, next++) {
            size_t w = next % c->n_workers;
            s->queues[w][s->n_queues[w]++] = xdp_queue_of(s->xdp[i], k);
        }
    }
    return ERR_OK;
}

static enum err open_xdp(struct sockets *s, const struct config *c, struct err_info *info)
{
    struct err_info why;
    struct addr *at = calloc(c->listen.n, sizeof *at);
    s->xdp = calloc(c->n_xdp + 1, sizeof *s->xdp);
    enum err e = at != NULL && s->xdp != NULL ? ERR_OK : ERR_NOMEM;
    for (size_t i = 0; i < c->listen.n && e == ERR_OK; i++)
        at[i] = c->listen.at[i].addr;
    const struct xdp_listens listens = { at, c->listen.n };
    for (; s->n_xdp < c->n_xdp && e == ERR_OK; s->n_xdp += e == ERR_OK) {
        const char *name = c->xdp[s->n_xdp];
        e = xdp_open(&s->xdp[s->n_xdp], name, &listens, &why);
        if (e != ERR_OK)
            e = err_set(info, ERR_CONFIG, "%s: xdp: %s: %s", c->xdp_where, name, why.text);
    }
    free(at);
    if (e == ERR_OK)
        e = share_queues(s, c);
    return e == ERR_NOMEM ? err_set(info, e, "out of memory") : e;
}

enum err sockets_open(struct sockets *out, const struct config *c, struct err_info *info)
{
    struct activation passed;
    size_t n = 0;
    *out = (struct sockets){ .metrics = -1, .public_ = -1 };
    out->udp = calloc(c->listen.n * c->n_workers, sizeof *out->udp);
    out->tcp = calloc(c->listen.n, sizeof *out->tcp);
    out->tls = calloc(c->listen_tls.n + 1, sizeof *out->tls);
    if (out->udp == NULL || out->tcp == NULL || out->tls == NULL) {
        sockets_close(out);
        return err_set(info, ERR_NOMEM, "out of memory");
    }
    activation_init(&passed);
    /* TCP first: UDP would share the port with another dnsd */
    enum err e = open_tcp(out->tcp, &out->n_tcp, &c->listen, "listen", &passed, info);
    if (e == ERR_OK)
        e = open_udp(out, c, &passed, info);
    if (e == ERR_OK)
        e = open_tcp(out->tls, &out->n_tls, &c->listen_tls, "listen_tls", &passed, info);
    if (e == ERR_OK)
        e = open_tcp(&out->metrics, &n, &c->metrics, "metrics", &passed, info);
    if (e == ERR_OK)
        e = open_tcp(&out->public_, &n, &c->public_, "listen_public", &passed, info);
    if (e == ERR_OK)
        e = open_xdp(out, c, info);
    activation_clear(&passed);
    if (e != ERR_OK)
        sockets_close(out);
    return e;
}

static void close_all(int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++)
        close(fds[i]);
    free(fds);
}

void sockets_close(struct sockets *s)
{
    close_all(s->udp, s->n_udp);
    close_all(s->tcp, s->n_tcp);
    close_all(s->tls, s->n_tls);
    if (s->udp != NULL && s->metrics >= 0)
        close(s->metrics);
    if (s->udp != NULL && s->public_ >= 0)
        close(s->public_);
    for (size_t i = 0; i < s->n_xdp; i++)
        xdp_close(s->xdp[i]);
    for (size_t i = 0; i < s->n_workers; i++)
        free(s->queues[i]);
    free(s->queues);
    free(s->n_queues);
    free(s->xdp);
    *s = (struct sockets){ .metrics = -1, .public_ = -1 };
}
