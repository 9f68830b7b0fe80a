/* hub.h - what all connections of a relay share. One loop, its thread. */
#ifndef LANYARD_PROVISIOND_RELAY_HUB_H
#define LANYARD_PROVISIOND_RELAY_HUB_H

#include <stdbool.h>
#include <sys/queue.h>

#include <openssl/ssl.h>

#include "common/base/metric.h"
#include "common/net/loop.h"
#include "provisiond/relay/devices.h"
#include "provisiond/relay/pipes.h"
#include "provisiond/relay/prefixes.h"
#include "provisiond/relay/relayconf.h"
#include "provisiond/relay/slots.h"
#include "provisiond/relay/turns.h"

/* How a client's connection ended. */
enum hub_end {
    HUB_DONE,     /* both sides said what they had */
    HUB_NO_HELLO, /* no TLS hello with a name, or not in time */
    HUB_NO_ZONE,  /* a name of nobody here */
    HUB_AWAY,     /* the device has no control connection */
    HUB_LIMIT,    /* of the device, or of all */
    HUB_DECLINED, /* the device would not */
    HUB_NO_DIAL,  /* the device did not dial back in time */
    HUB_IDLE,     /* nothing moved for too long */
    HUB_LIFETIME, /* it was open for too long */
    HUB_ABORTED,  /* reset, or cut off */
    HUB_STOPPED,  /* the relay stops */
    HUB_END_N
};

/* Since the start. */
struct hub_counts {
    struct metric clients, clients_refused; /* accepted; closed at once for limits of its network */
    struct metric ended[HUB_END_N];
    struct metric controls, controls_refused, controls_failed; /* failed: in the handshake */
    struct metric tickets, tickets_refused;
    struct metric dials, dials_refused; /* data connections that were joined; that were not */
    struct metric_histogram dial_ms;    /* from the hello to the data connection */
    struct metric up[RELAYCONF_ZONES_MAX], down[RELAYCONF_ZONES_MAX]; /* bytes, by zone */
};

TAILQ_HEAD(circuits, circuit);
TAILQ_HEAD(controls, control);
TAILQ_HEAD(dialbacks, dialback);

struct hub {
    struct loop *loop;
    const struct relayconf *config;
    SSL_CTX *tls; /* of the control connections */
    struct hub_counts counts;
    struct devices *devices;
    struct slots *slots;
    struct prefixes *clients, *peers; /* networks of clients; of devices */
    struct pipes pipes;
    struct turns turns;
    struct event *pump;      /* runs when somebody has a turn to take */
    struct loop_timer *rest; /* until the next turn */
    struct circuits circuits;
    struct controls controls;
    struct dialbacks dialbacks;
    size_t clients_max; /* of the configuration, or what fits: see fdlimit.h */
    size_t n_circuits, n_controls, n_devices, n_dialbacks;
    bool draining;
};

/* Everything but config and tls, which stay the caller's. Errors: ERR_NOMEM. */
NODISCARD enum err hub_init(struct hub *h, struct loop *l, const struct relayconf *config,
                            SSL_CTX *tls);

/* Closes every connection, too. */
void hub_clear(struct hub *h);

/* Uses `config` from now on, which has the same zones. */
void hub_set_config(struct hub *h, const struct relayconf *config);

/* `job` of the device `m` has bytes to move: see turns.h. */
void hub_wake(struct hub *h, struct turns_member *m, struct turns_job *job);

#endif
