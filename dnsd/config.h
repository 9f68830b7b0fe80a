/* config.h - the configuration file as plain structs, its zones loaded. Start-up and reload, one
 * thread at a time. */
#ifndef LANYARD_DNSD_CONFIG_H
#define LANYARD_DNSD_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/net/addr.h"
#include "dnsd/core/view.h"
#include "dnsd/servercert.h"
#include "dnsd/guardfiles.h"

#define CONFIG_XDP_MAX 8

struct config_listen {
    struct addr addr;
    char text[ADDR_TEXT_MAX];
};

/* The addresses of one option. */
struct config_listens {
    struct config_listen *at;
    size_t n;
    char *where; /* "FILE:LINE", for a port in use */
};

struct config {
    struct config_listens listen;     /* UDP and TCP: at least 1 */
    struct config_listens listen_tls; /* any number */
    struct config_listens metrics;    /* at most 1 */
    struct config_listens public_;    /* at most 1 */
    char **xdp;                       /* interfaces to answer on past the network stack */
    size_t n_xdp;                     /* at most CONFIG_XDP_MAX */
    char *xdp_where;                  /* "FILE:LINE" */
    struct servercert *cert;          /* NULL without listen_tls, and once taken */
    SSL_CTX *tls;                     /* of `cert` as it is now */
    char *user;                       /* to become after binding; NULL keeps the present one */
    enum log_level log_level;
    unsigned n_workers;            /* 1..64 */
    unsigned tcp_max;              /* connections */
    unsigned tcp_client_max;       /* connections of one address */
    unsigned tcp_idle_s;           /* a connection without a whole query for this long is closed */
    unsigned sign_budget;          /* signatures that a thread may make in a second */
    struct view *view;             /* NULL once taken */
    struct guardfiles *guardfiles; /* of the view; NULL once taken */
};

/* Reads the file at `path` and every file that it names. The caller owns *out and calls
 * config_free(). Errors: ERR_CONFIG with a line "FILE:LINE: what is wrong and what to do",
 * ERR_NOMEM. */
NODISCARD enum err config_load(struct config **out, const char *path, struct err_info *info);

/* The folder of the keys of `zone` (text) by the file at `path`, without reading anything else. The
 * caller frees *out. Errors: ERR_CONFIG, ERR_NOMEM. */
NODISCARD enum err config_find_keys(char **out, const char *path, const char *zone,
                                    struct err_info *info);

void config_free(struct config *c);

/* Whether `a` and `b` differ in what only a restart can change: sockets, threads, limits, user. */
bool config_needs_restart(const struct config *a, const struct config *b);

#endif
