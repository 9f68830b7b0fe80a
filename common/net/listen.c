#include "common/net/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 1024

static enum err bind_failed(const struct addr *a, const char *proto, struct err_info *info)
{
    int errnum = errno;
    char text[ADDR_TEXT_MAX];
    addr_format(a, text);
    if (errnum == EADDRINUSE)
        return err_set(info, ERR_EXISTS,
                       "%s %s is in use by another program: stop it (ss -lnp shows it) or "
                       "choose another port",
                       proto, text);
    if (errnum == EACCES)
        return err_set(info, ERR_DENIED,
                       "not allowed to bind %s %s: start as root or give the program "
                       "CAP_NET_BIND_SERVICE",
                       proto, text);
    if (errnum == EADDRNOTAVAIL)
        return err_set(info, ERR_IO, "%s %s is not an address of this machine (ip addr shows them)",
                       proto, text);
    return err_set(info, ERR_IO, "cannot bind %s %s: %s", proto, text, strerror(errnum));
}

static enum err open_bound(int *fd, const struct addr *a, int type, bool share, int rcvbuf,
                           struct err_info *info)
{
    const char *proto = type == SOCK_DGRAM ? "UDP" : "TCP";
    int on = 1;
    int s = socket(a->ss.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s < 0)
        return bind_failed(a, proto, info);
    bool ok = true;
    if (type == SOCK_STREAM)
        ok = setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0;
    if (ok && share)
        ok = setsockopt(s, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0;
    if (ok && a->ss.ss_family == AF_INET6)
        ok = setsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0;
    if (ok && rcvbuf > 0 && setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &rcvbuf, sizeof rcvbuf) != 0)
        (void)setsockopt(s, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof rcvbuf);
    if (ok)
        ok = bind(s, (const struct sockaddr *)&a->ss, a->len) == 0;
    if (ok && type == SOCK_STREAM)
        ok = listen(s, BACKLOG) == 0;
    if (!ok) {
        enum err e = bind_failed(a, proto, info);
        close(s);
        return e;
    }
    *fd = s;
    return ERR_OK;
}

enum err listen_udp(int *fd, const struct addr *a, bool share, int rcvbuf, struct err_info *info)
{
    return open_bound(fd, a, SOCK_DGRAM, share, rcvbuf, info);
}

enum err listen_tcp(int *fd, const struct addr *a, bool share, struct err_info *info)
{
    return open_bound(fd, a, SOCK_STREAM, share, 0, info);
}

/* Whether somebody accepts connections at `sun`. */
static bool is_served(const struct sockaddr_un *sun)
{
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s < 0)
        return false;
    bool served = connect(s, (const struct sockaddr *)sun, sizeof *sun) == 0;
    close(s);
    return served;
}

enum err listen_unix(int *fd, const char *path, unsigned mode, struct err_info *info)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof sun.sun_path)
        return err_set(info, ERR_LIMIT, "socket path is longer than %zu bytes: %s",
                       sizeof sun.sun_path - 1, path);
    strcpy(sun.sun_path, path);
    struct stat st;
    if (lstat(path, &st) == 0) {
        if (!S_ISSOCK(st.st_mode))
            return err_set(info, ERR_EXISTS, "%s is there, but is not a socket", path);
        if (is_served(&sun))
            return err_set(info, ERR_EXISTS, "another program serves %s: is it running twice?",
                           path);
        (void)unlink(path);
    }
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    /* fchmod before bind sets the mode the socket file is created with: no open moment */
    if (s < 0 || fchmod(s, (mode_t)mode) != 0 ||
        bind(s, (const struct sockaddr *)&sun, sizeof sun) != 0 || listen(s, 16) != 0) {
        enum err e =
            err_set(info, err_from_errno(errno), "cannot listen at %s: %s", path, strerror(errno));
        if (s >= 0)
            close(s);
        return e;
    }
    *fd = s;
    return ERR_OK;
}
