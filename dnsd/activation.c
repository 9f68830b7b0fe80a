#include "dnsd/activation.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"

#define FIRST_FD 3 /* by convention: sd_listen_fds(3) */

/* The number in variable `name`; -1 when it is not there or not one. */
static long number_of(const char *name)
{
    const char *text = getenv(name);
    char *end;
    if (text == NULL || text[0] < '0' || text[0] > '9')
        return -1;
    long n = strtol(text, &end, 10);
    return *end == 0 ? n : -1;
}

/* A socket for every IPv6 address may take IPv4 as well: its clients all come from one network
 * then,
 * ::ffff:0:0/96, as far as limits can tell. */
static void check_families(int fd, const struct addr *addr)
{
    const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)&addr->ss;
    int only = 1;
    socklen_t len = sizeof only;
    if (addr->ss.ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&sin6->sin6_addr) &&
        getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, &len) == 0 && only == 0)
        log_warn(
            "socket %d that the service manager passed takes IPv4 beside IPv6: all IPv4 "
            "clients together have the limits of one; set BindIPv6Only=ipv6-only, and a socket "
            "for 0.0.0.0",
            fd);
}

static void add(struct activation *a, int fd)
{
    struct addr addr = { .len = sizeof addr.ss };
    int type = 0, listens = 0;
    socklen_t len = sizeof type;
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
        return; /* no descriptor at all */
    if (getsockname(fd, (struct sockaddr *)&addr.ss, &addr.len) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0)
        type = 0;
    len = sizeof listens;
    if (type == SOCK_STREAM &&
        (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) != 0 || listens == 0))
        type = 0;
    if (type != 0)
        check_families(fd, &addr);
    a->sockets[a->n].fd = fd;
    a->sockets[a->n].type = type;
    a->sockets[a->n].addr = addr;
    a->sockets[a->n].used = false;
    a->n++;
}

void activation_init(struct activation *a)
{
    a->n = 0;
    long n = number_of("LISTEN_FDS");
    if (number_of("LISTEN_PID") == (long)getpid()) {
        for (long i = 0; i < n && i < ACTIVATION_MAX; i++)
            add(a, FIRST_FD + (int)i);
    }
    (void)unsetenv("LISTEN_PID");
    (void)unsetenv("LISTEN_FDS");
    (void)unsetenv("LISTEN_FDNAMES");
}

static bool same_addr(const struct addr *a, const struct addr *b)
{
    char x[ADDR_TEXT_MAX], y[ADDR_TEXT_MAX];
    if (a->ss.ss_family != b->ss.ss_family)
        return false;
    addr_format(a, x);
    addr_format(b, y);
    return strcmp(x, y) == 0;
}

int activation_get(struct activation *a, const struct addr *addr, int type, unsigned turn)
{
    unsigned found[ACTIVATION_MAX], n = 0;
    for (unsigned i = 0; i < a->n; i++) {
        if (a->sockets[i].type == type && same_addr(&a->sockets[i].addr, addr))
            found[n++] = i;
    }
    if (n == 0)
        return -1;
    unsigned i = found[turn % n];
    int fd = fcntl(a->sockets[i].fd, F_DUPFD_CLOEXEC, FIRST_FD);
    int flags = fd >= 0 ? fcntl(fd, F_GETFL) : -1;
    if (flags >= 0)
        (void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    a->sockets[i].used = true;
    return fd;
}

void activation_clear(struct activation *a)
{
    for (unsigned i = 0; i < a->n; i++) {
        if (!a->sockets[i].used)
            log_warn("socket %d that the service manager passed is none of the addresses of the "
                     "configuration: it is not served",
                     a->sockets[i].fd);
        close(a->sockets[i].fd);
    }
    a->n = 0;
}
