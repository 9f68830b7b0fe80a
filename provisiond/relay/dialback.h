/* dialback.h - a data connection of a device until it has shown which client it is for. One loop,
 * its thread. */
#ifndef LANYARD_PROVISIOND_RELAY_DIALBACK_H
#define LANYARD_PROVISIOND_RELAY_DIALBACK_H

#include "common/net/addr.h"
#include "provisiond/relay/hub.h"

struct dialback; /* opaque */

/* Takes the accepted, non-blocking socket `fd` over. */
void dialback_start(struct hub *h, int fd, const struct addr *peer);

/* Closes it. */
void dialback_free(struct dialback *d);

#endif
