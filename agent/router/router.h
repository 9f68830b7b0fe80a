/* router.h - how the home router is asked for a port: the same three calls by two protocols. All of
 * them block, for a few seconds each as long as the router is well, and for ever when it means
 * harm: this is a program of its own, with a time limit, so that neither the agent nor its keys are
 * near. One thread. */
#ifndef LANYARD_AGENT_ROUTER_ROUTER_H
#define LANYARD_AGENT_ROUTER_ROUTER_H

#include <netinet/in.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"

/* Where we are. */
struct router_place {
    struct in_addr gateway, own; /* `own` is the address that the gateway sees */
};

struct router_mapping {
    uint16_t port;     /* of ours, TCP */
    uint16_t external; /* wanted; then the one that was given */
    uint32_t lifetime_s;
    struct in_addr address; /* the router's own; 0.0.0.0 when it has none */
};

struct router_protocol {
    const char *name;
    /* Asks for the mapping in *m, or its renewal, and writes what was given. Errors: ERR_NOTFOUND
     * when nobody speaks this protocol, ERR_REMOTE when the router refuses; a sentence in `info`.
     */
    enum err (*map)(const struct router_place *at, struct router_mapping *m, struct err_info *info);
    enum err (*unmap)(const struct router_place *at, const struct router_mapping *m,
                      struct err_info *info);
};

extern const struct router_protocol NATPMP; /* [RFC 6886] */
extern const struct router_protocol UPNP;   /* UPnP-IGD 1 and 2 */

#endif
