/* control.h - the control connection of one device: mutual TLS 1.3, the frames of
 * common/net/relayframe.h. The device is whoever proves the key of its id, and is served once it
 * has shown a ticket for that id. One loop, its thread. */
#ifndef LANYARD_PROVISIOND_RELAY_CONTROL_H
#define LANYARD_PROVISIOND_RELAY_CONTROL_H

#include "common/net/addr.h"
#include "common/net/relayframe.h"
#include "provisiond/relay/hub.h"

struct control; /* opaque */

/* Takes the accepted, non-blocking socket `fd` over. */
void control_start(struct hub *h, int fd, const struct addr *peer);

/* Has the device dial back. Never ends `c` before it returns. */
void control_dial(struct control *c, const struct relayframe_dial *dial);

/* Says why, and closes soon. */
void control_dismiss(struct control *c, enum relayframe_reason reason);

/* The next one of the hub's. */
struct control *control_next(const struct control *c);

/* Closes at once. */
void control_free(struct control *c);

#endif
