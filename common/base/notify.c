#include "common/base/notify.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"

/* Milliseconds between signs of life, if they are asked of this process. */
static int64_t watchdog_ms(void)
{
    const char *us = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    if (us == NULL || (pid != NULL && strtoll(pid, NULL, 10) != (long long)getpid()))
        return 0;
    long long n = strtoll(us, NULL, 10);
    return n > 0 ? (int64_t)n / 1000 : 0;
}

void notify_init(struct notify *n)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    const char *path = getenv("NOTIFY_SOCKET");
    n->fd = -1;
    n->watchdog_ms = watchdog_ms();
    size_t len = path != NULL ? strlen(path) : 0;
    if (len > 1 && len < sizeof sun.sun_path && (path[0] == '/' || path[0] == '@')) {
        memcpy(sun.sun_path, path, len);
        if (path[0] == '@')
            sun.sun_path[0] = 0; /* the abstract namespace */
        n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        socklen_t sun_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
        if (n->fd < 0 || connect(n->fd, (const struct sockaddr *)&sun, sun_len) != 0) {
            log_warn("cannot reach the service manager at NOTIFY_SOCKET");
            notify_clear(n);
        }
    }
    (void)unsetenv("NOTIFY_SOCKET");
    (void)unsetenv("WATCHDOG_USEC");
    (void)unsetenv("WATCHDOG_PID");
}

void notify_clear(struct notify *n)
{
    if (n->fd >= 0)
        close(n->fd);
    n->fd = -1;
}

static void tell(const struct notify *n, const char *what)
{
    if (n->fd >= 0)
        (void)send(n->fd, what, strlen(what), MSG_NOSIGNAL); /* the next one may get there */
}

void notify_ready(const struct notify *n)
{
    tell(n, "READY=1\n");
}

void notify_reloading(const struct notify *n)
{
    char text[64];
    (void)snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%" PRId64 "\n", clock_mono_us());
    tell(n, text);
}

void notify_stopping(const struct notify *n)
{
    tell(n, "STOPPING=1\n");
}

void notify_alive(const struct notify *n)
{
    tell(n, "WATCHDOG=1\n");
}
