/* config.h - the agent's configuration file as a plain struct. Start-up and reload. */
#ifndef LANYARD_AGENT_CONFIG_H
#define LANYARD_AGENT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "agent/access.h"
#include "agent/core/alpn.h"
#include "agent/forms.h"
#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/net/addr.h"
#include "common/pki/key.h"

#define CONFIG_PROXIES_MAX 32
#define CONFIG_PAGES_MAX 8
#define CONFIG_LISTENERS_MAX (CONFIG_PROXIES_MAX + CONFIG_PAGES_MAX)
#define CONFIG_ADDRESSES_MAX 32
#define CONFIG_RESOLVERS_MAX 8

struct config_proxy {
    struct addr listen;
    char *listen_where; /* FILE:LINE, for a port in use */
    struct sockaddr_storage backend;
    socklen_t backend_len;
    char *backend_text;
    char *label; /* "LISTEN -> BACKEND" */
    size_t connections_max;
    int64_t idle_ms;
    bool proxy_protocol; /* tell the backend who the client is */
    struct alpn alpn;    /* what the backend speaks */
};

/* Where the device's own page is served. */
struct config_page {
    struct addr listen;
    char *listen_where;
    bool secure; /* TLS */
};

struct config {
    char *server;          /* https://host[:port], without a final '/' */
    char *server_ca;       /* NULL: the system's roots */
    char *zone;            /* lower case, no final dot */
    char *token;           /* NULL: none */
    char *factory_chain;   /* PEM; NULL: none */
    EVP_PKEY *factory_key; /* NULL: the factory certificate is over the identity key */
    char *state_dir;
    bool addresses_auto, vpn_addresses;
    size_t n_addresses;
    char *addresses[CONFIG_ADDRESSES_MAX]; /* numeric */
    char *name;                            /* for people; NULL: the host's */
    bool nearby;                           /* may be shown to browsers in the same network */
    bool report;                           /* tell the service where this device is */
    bool resolvers_auto;
    size_t n_resolvers;
    struct addr resolvers[CONFIG_RESOLVERS_MAX];
    struct addr zone_server; /* len 0: found by its NS record */
    bool refuse_foreign;     /* names that are neither ours nor local */
    size_t n_proxies;
    struct config_proxy proxies[CONFIG_PROXIES_MAX];
    size_t n_pages;
    struct config_page pages[CONFIG_PAGES_MAX];
    bool relay;                            /* clients may come by the service's relay, too */
    bool mdns;                             /* tell the network of the secure URL */
    char *mdns_file;                       /* NULL: by avahi-publish */
    bool port_mapping;                     /* ask the router for a port */
    uint16_t mapped_port, mapped_external; /* ours; the outer one, 0: choose */
    char *reload_command;                  /* NULL: none */
    char *reload_pid_file;                 /* NULL: none; never both */
    int reload_signal;                     /* for the process in it */
    bool check_served; /* whether the application at `served_at` has the new certificate */
    struct addr served_at;
    int64_t reload_timeout_ms;
    int64_t retry_s; /* first wait after a failure */
    enum key_type key_type;
    char *p12_password;         /* never NULL */
    struct forms_bundle bundle; /* with that password */
    struct access access;       /* whose the files are */
    char *user;                 /* NULL: stay who we are */
    enum log_level log_level;
};

/* Reads and checks the file at `path`; the secrets in files it names are read as well. *out is the
 * caller's, who calls config_free(). Errors: ERR_CONFIG with FILE:LINE; ERR_NOMEM. */
NODISCARD enum err config_load(struct config **out, const char *path, struct err_info *info);

/* What the application is told with: "reload command" or "reload signal"; NULL: nothing. */
const char *config_reload(const struct config *c);

void config_free(struct config *c);

#endif
