/* relayconf.h - the relay's configuration file as a plain struct. Start-up and reload. */
#ifndef LANYARD_PROVISIOND_RELAY_RELAYCONF_H
#define LANYARD_PROVISIOND_RELAY_RELAYCONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/evp.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/net/addr.h"
#include "common/pki/devid.h"
#include "provisiond/core/relayticket.h"

#define RELAYCONF_LISTEN_MAX 8
#define RELAYCONF_ZONES_MAX 16

/* The listeners of one kind. */
struct relayconf_listen {
    size_t n;
    struct addr addr[RELAYCONF_LISTEN_MAX];
    char *where; /* "FILE:LINE" */
};

struct relayconf {
    char *name;
    struct relayconf_listen clients, control, data, metrics; /* of metrics at most one */
    char *identity; /* path of the key that devices know the relay by */
    struct relayticket_keys keys;
    size_t n_zones;
    char *zones[RELAYCONF_ZONES_MAX]; /* lower case, no final dot */
    char *user, *user_where;          /* NULL: stay who we are */
    enum log_level log_level;
    int64_t clients_max, clients_per_prefix, client_rate; /* a second, of one prefix */
    int64_t devices_max, devices_per_prefix;
    int64_t device_clients, device_rate; /* at once; new a second */
    int64_t hello_ms, dial_ms, idle_ms, half_ms, lifetime_ms, drain_ms;
    int64_t keepalive_s;
    int64_t bytes_per_s, device_bytes_per_s; /* 0: no limit */
};

/* Reads and checks the file and the keys that it names. *out is the caller's, who calls
 * relayconf_free(). Errors: ERR_CONFIG with FILE:LINE; ERR_NOMEM. */
NODISCARD enum err relayconf_load(struct relayconf **out, const char *path, struct err_info *info);
void relayconf_free(struct relayconf *c);

/* The key at c->identity, made where it is missing, and its id. The caller frees *key. */
NODISCARD enum err relayconf_identity(EVP_PKEY **key, struct devid *id, const struct relayconf *c,
                                      struct err_info *info);

#endif
