#include "agent/listeners.h"

#include <stdbool.h>
#include <unistd.h>

#include "common/net/listen.h"

size_t listeners_count(const struct config *c)
{
    return c->n_proxies + c->n_pages;
}

void listeners_close(const int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++)
        close(fds[i]);
}

enum err listeners_bind(const struct config *c, int fds[CONFIG_LISTENERS_MAX],
                        struct err_info *info)
{
    for (size_t i = 0; i < listeners_count(c); i++) {
        bool page = i >= c->n_proxies;
        const struct addr *at = page ? &c->pages[i - c->n_proxies].listen : &c->proxies[i].listen;
        const char *where =
            page ? c->pages[i - c->n_proxies].listen_where : c->proxies[i].listen_where;
        enum err e = listen_tcp(&fds[i], at, false, info);
        if (e != ERR_OK) {
            listeners_close(fds, i);
            return err_prefix(info, ERR_CONFIG, "%s: %s: ", where, page ? "page" : "listen");
        }
    }
    return ERR_OK;
}
