/* portmap.h - a port of the home router that leads to this device: asked for, renewed, checked from
 * inside, and given back at the end. What talks to the router is lanyard-portmap, a process of its
 * own (agent/router). One loop, its thread; never blocks it. */
#ifndef LANYARD_AGENT_PORTMAP_H
#define LANYARD_AGENT_PORTMAP_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>
#include <openssl/x509.h>

#include "agent/core/mapping.h"
#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/loop.h"

struct portmap; /* opaque */

struct portmap_options {
    uint16_t port;     /* ours, where TLS is spoken */
    uint16_t external; /* the outer one that is wanted first */
    const char *name;  /* a name of this device's, to look at itself by; copied */
    bool (*is_ours)(void *arg, X509 *leaf); /* whether this device serves that certificate */
    void (*on_change)(void *arg);           /* portmap_connection() has something else to say */
    void *arg;
};

enum portmap_loopback { PORTMAP_LOOPBACK_UNKNOWN, PORTMAP_LOOPBACK_NO, PORTMAP_LOOPBACK_YES };

/* A way to this device from outside. */
struct portmap_connection {
    struct ip address;
    uint16_t port;
    enum portmap_loopback loopback; /* whether the home network can use it, too */
};

/* Starts to ask. Errors: ERR_NOMEM, ERR_IO. */
NODISCARD enum err portmap_new(struct portmap **out, struct loop *l,
                               const struct portmap_options *o, struct err_info *info);

/* The addresses or routes of this device changed, perhaps. Cheap when not. */
void portmap_refresh(struct portmap *p);

/* The service saw us come from `address`; IPv6 is left aside. */
void portmap_observe(struct portmap *p, const struct ip *address);

/* False: there is none now. */
bool portmap_connection(const struct portmap *p, struct portmap_connection *out);

/* For `status` at `now_s`, Unix seconds; see the README. The caller's; NULL when out of memory. */
json_t *portmap_to_json(const struct portmap *p, int64_t now_s);

/* Gives the port back, and calls fn(arg) when that is done or 10 seconds later. False when there is
 * nothing to give back: fn is not called then. Nothing else is asked for from here on. */
bool portmap_end(struct portmap *p, void (*fn)(void *arg), void *arg);

/* Leaves a port that was not given back to the end of its life. */
void portmap_free(struct portmap *p);

#endif
