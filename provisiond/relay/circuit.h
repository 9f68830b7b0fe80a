/* circuit.h - one client of a device:
 *
 *     HELLO  its ClientHello is looked at where it lies, in the kernel's buffer, until there is a
 * name DIAL   the device of that name was called, and is to dial back COPY   bytes go both ways,
 * the hello first of all; none of them is read here
 *
 * One loop, its thread. */
#ifndef LANYARD_PROVISIOND_RELAY_CIRCUIT_H
#define LANYARD_PROVISIOND_RELAY_CIRCUIT_H

#include "common/net/addr.h"
#include "provisiond/relay/hub.h"

struct circuit; /* opaque */

/* Serves the accepted, non-blocking socket `fd` of a client, which is taken over. */
void circuit_start(struct hub *h, int fd, const struct addr *peer);

/* The device's connection for `c`, which waits for one: `fd` is taken over. */
void circuit_join(struct circuit *c, int fd);

/* Moves at most `budget` bytes; *moved is how many. Whether there may be more: otherwise the
 * circuit may be gone. For the hub, of a job that hub_wake() was given. */
bool circuit_run(struct turns_job *job, size_t budget, size_t *moved);

/* Whether `c` waits for `dev` to dial back. */
bool circuit_waits_for(const struct circuit *c, const struct device *dev);

/* Ends all that wait for `dev` to dial back. */
void circuit_end_waiting(struct device *dev);

/* Closes both connections. */
void circuit_end(struct circuit *c, enum hub_end why);

#endif
