/* notify.h - what a service manager wants to know: ready, reloading, stopping, still alive. The
 * datagrams of sd_notify(3), without its library. Does nothing where nobody asked. The main thread.
 */
#ifndef LANYARD_BASE_NOTIFY_H
#define LANYARD_BASE_NOTIFY_H

#include <stdint.h>

struct notify {
    int fd;              /* -1: nobody listens */
    int64_t watchdog_ms; /* a sign of life is wanted this often; 0: never */
};

/* Reads NOTIFY_SOCKET and WATCHDOG_USEC, and takes them out of the environment. */
void notify_init(struct notify *n);
void notify_clear(struct notify *n);

void notify_ready(const struct notify *n);
void notify_reloading(const struct notify *n); /* notify_ready() ends it */
void notify_stopping(const struct notify *n);
void notify_alive(const struct notify *n);

#endif
