/* fdlimit.h - how many clients the limit of open files has room for. At the start. */
#ifndef LANYARD_PROVISIOND_RELAY_FDLIMIT_H
#define LANYARD_PROVISIOND_RELAY_FDLIMIT_H

#include <stddef.h>

#include "provisiond/relay/relayconf.h"

/* Raises the limit as far as the system lets us. Returns c->clients_max or, with a warning, as many
 * as fit: at least 1. */
size_t fdlimit_clients(const struct relayconf *c);

#endif
