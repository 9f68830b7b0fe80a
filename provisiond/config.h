/* config.h - provisiond's configuration file as plain structs. Start-up only. */
#ifndef LANYARD_PROVISIOND_CONFIG_H
#define LANYARD_PROVISIOND_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/net/addr.h"
#include "common/dns/iplabel.h"
#include "common/net/cidr.h"
#include "common/net/httpd.h"
#include "provisiond/core/bucket.h"
#include "provisiond/relays.h"
#include "provisiond/tagkeys.h"

#define CONFIG_LIST_MAX 16
#define CONFIG_ACCOUNTS_MAX 16 /* of one issuer; as LEDGER_ACCOUNTS_MAX */

enum config_enroll { CONFIG_ENROLL_OPEN, CONFIG_ENROLL_TOKEN, CONFIG_ENROLL_FACTORY };

struct config_listen {
    bool set;
    struct addr addr;
    size_t n_more; /* further addresses of the same listener */
    struct addr more[HTTPD_SOCKETS_MAX - 1];
    char *where; /* "FILE:LINE", for a bind that fails */
};

/* Load balancers before a listener. */
struct config_proxies {
    size_t n;
    struct cidr from[CONFIG_LIST_MAX];
};

struct config_issuer {
    char *name;
    char *where; /* "FILE:LINE", for what is found wrong when it is opened */
    bool is_local;
    /* acme */
    char *directory, *ca_file, *contact, *account_key;
    size_t n_accounts;
    size_t n_eab; /* bindings: 0, 1 for all accounts, or one for each */
    char *eab_kid[CONFIG_ACCOUNTS_MAX], *eab_hmac_file[CONFIG_ACCOUNTS_MAX];
    bool agree_terms;
    char *profile, *prefer_chain, *challenge; /* NULL: the CA's default, dns-01 */
    int64_t lifetime_s;                       /* asked for with each order; 0: the CA's choice */
    /* local */
    char *dir;
    int64_t validity_s;
    char *crl_file, *crl_url; /* NULL: none */
    /* what it is asked for, and how often */
    struct bucket_limit limit[BUCKET_KIND_N];
    bool renewals_exempt;       /* does not count the same names again as new */
    int64_t orders_at_once;     /* at most; how many it bears is found out */
    int64_t windows_per_second; /* questions about renewal windows, at most */
};

struct config_zone {
    char *name; /* lower case, no final dot */
    size_t n_issuers;
    size_t issuers[CONFIG_LIST_MAX]; /* indices into config.issuers, in order of preference */
    enum config_enroll enroll;
    char *challenges;       /* as config.store; NULL when no issuer needs one */
    char *challenges_where; /* "FILE:LINE" */
    size_t n_nameservers;
    struct addr nameservers[CONFIG_LIST_MAX];
    bool bare_name;                     /* certificates also for <id>.<zone> */
    char *where;                        /* "FILE:LINE" of enroll, for the files that follow */
    char *factory_ca;                   /* PEM; set with CONFIG_ENROLL_FACTORY */
    char *allow_devices, *deny_devices; /* ids one a line; NULL: all, none */
    struct tagkeys *tag_keys;           /* of public addresses' names; NULL: none have names */
    char *suspended; /* the file of that name that dnsd reads, kept up to date; NULL: none */
    /* accounts at the vendor; NULL: none. Issuer and audience go together. */
    char *oidc_issuer, *oidc_audience, *oidc_ca_file;
};

struct config {
    char *path; /* of the file itself, as given */
    char *store,
        *store_where; /* "sqlite:PATH", PATH resolved, or "postgresql://..."; "FILE:LINE" */
    char *node;       /* unlike that of every other node over the same store */
    struct config_listen device, public_, metrics;
    struct config_proxies device_proxies, public_proxies;
    char *tls_cert, *tls_key; /* both or neither */
    char *tls_where;          /* "FILE:LINE" of tls_cert */
    size_t n_server_names;
    char *server_names[CONFIG_LIST_MAX]; /* for a certificate by the local CA */
    char *user, *user_where;             /* NULL: stay */
    enum log_level log_level;
    int64_t orders_per_day;      /* new CSRs of one device */
    int64_t active_days;         /* devices not seen for longer are not renewed */
    int64_t failover_percent;    /* of a certificate's life: with less left the next CA is asked */
    int64_t enroll_per_hour;     /* enrolments from one IPv4 address or IPv6 /56 */
    int64_t enroll_per_hour_net; /* and from one IPv4 /24 or IPv6 /48 */
    char *blocked_keys, *blocked_where;    /* SHA-256 of keys known to others, one a line; NULL */
    size_t n_web_origins;                  /* 0: any */
    char *web_origins[CONFIG_LIST_MAX];    /* whose pages may use the discovery API */
    int64_t web_per_minute;                /* requests from one IPv4 address or IPv6 /56 */
    int64_t pair_per_hour;                 /* pairing codes tried from there */
    char *companion_dir, *companion_where; /* what is served as /companion/; NULL: as installed */
    size_t n_issuers;
    struct config_issuer issuers[CONFIG_LIST_MAX];
    size_t n_zones;
    struct config_zone zones[CONFIG_LIST_MAX];
    struct relays *relays;
};

/* Reads and checks the whole file. On success *out is the caller's: config_free().
 * Errors: ERR_CONFIG with "FILE:LINE: ..." in info, ERR_NOMEM. */
NODISCARD enum err config_load(struct config **out, const char *path, struct err_info *info);
void config_free(struct config *c);

/* The zone of that name (any case), or NULL. Borrowed. */
const struct config_zone *config_zone_find(const struct config *c, const char *name);

/* Whether the issuer's directory is that of a CA that has a staging directory as well, and this is
 * not it, and no account has been used there from here. Looks for a file. */
bool config_is_untried_production(const struct config_issuer *is);

/* The first issuer of type local, or NULL. Borrowed. */
const struct config_issuer *config_local_issuer(const struct config *c);

#endif
