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
    *s = (struct sockets){ .metrics = -1, .public_ = -1 };
}
