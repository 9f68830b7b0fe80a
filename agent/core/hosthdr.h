/* hosthdr.h - whether a Host header names this device: a page in a browser that was sent here by a
 * name of somebody else's (DNS rebinding) must get nothing. Pure; any thread. */
#ifndef LANYARD_AGENT_CORE_HOSTHDR_H
#define LANYARD_AGENT_CORE_HOSTHDR_H

#include <stdbool.h>

/* `host` is the header's value, with or without a port; NULL is never ours. Ours are IP addresses,
 * "localhost", names of one label, names under ".local", and `suffix` (".<id>.<zone>") with
 * whatever is before it. */
bool hosthdr_is_ours(const char *host, const char *suffix);

#endif
