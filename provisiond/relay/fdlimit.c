#include "provisiond/relay/fdlimit.h"

#include "common/base/log.h"
#include "common/base/process.h"
#include "provisiond/relay/pipes.h"

#define PER_CLIENT 2 /* its connection and that of the device */
#define OTHERS                                                                                     \
    (64 + 2 * PIPES_KEPT_MAX) /* listeners, the loop, the log, pipes, the status page              \
                               */

size_t fdlimit_clients(const struct relayconf *c)
{
    rlim_t limit = process_raise_fd_limit(), devices = (rlim_t)c->devices_max,
           clients = (rlim_t)c->clients_max;
    rlim_t need = OTHERS + devices + PER_CLIENT * clients;
    if (limit >= need)
        return (size_t)clients;
    rlim_t room = limit > OTHERS ? limit - OTHERS : 0;
    if (devices > room / 2) /* they do not all come, and would be nothing without clients */
        devices = room / 2;
    clients = (room - devices) / PER_CLIENT;
    if (clients == 0)
        clients = 1;
    log_warn(
        "the limit of open files, %llu, has room for %llu clients, not for clients_max = %lld: "
        "raise it to %llu (LimitNOFILE= of the unit, or ulimit -n), or lower clients_max and "
        "devices_max",
        (unsigned long long)limit, (unsigned long long)clients, (long long)c->clients_max,
        (unsigned long long)need);
    return (size_t)clients;
}
