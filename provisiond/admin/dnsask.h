/* dnsask.h - one DNS question to one server, waited for: for admin commands, which have nothing
 * else to do. By c-ares, UDP then TCP, at most a few seconds. */
#ifndef LANYARD_PROVISIOND_ADMIN_DNSASK_H
#define LANYARD_PROVISIOND_ADMIN_DNSASK_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/addr.h"

#define DNSASK_MAX 32
#define DNSASK_TEXT_MAX 256

enum dnsask_type {
    DNSASK_A = 1,
    DNSASK_NS = 2,
    DNSASK_TXT = 16,
    DNSASK_AAAA = 28,
    DNSASK_CAA = 257
};

struct dnsask {
    size_t n;
    char text[DNSASK_MAX][DNSASK_TEXT_MAX]; /* address, host name, joined strings, or "TAG VALUE" */
    bool critical[DNSASK_MAX];              /* of a CAA record */
};

/* Asks `server` for the records. ERR_OK with n == 0: the name has none of that type. Errors:
 * ERR_NOTFOUND (NXDOMAIN), ERR_REMOTE (SERVFAIL, REFUSED, nonsense), ERR_TIMEOUT, ERR_UNAVAILABLE,
 * ERR_NOMEM; the sentence names the server. */
NODISCARD enum err dnsask(const struct addr *server, const char *name, enum dnsask_type type,
                          struct dnsask *out, struct err_info *info);

/* A delegation as the parent's server has it: the NS records of the zone, and the addresses that it
 * hands out with them. */
struct dnsask_referral {
    size_t n_ns, n_glue;
    char ns[DNSASK_MAX][DNSASK_TEXT_MAX];
    struct {
        char host[DNSASK_TEXT_MAX], address[INET6_ADDRSTRLEN];
    } glue[2 * DNSASK_MAX];
};

/* Asks `server`, which must not look elsewhere, for the delegation of `zone`. ERR_OK with n_ns ==
 * 0: it knows of none. Errors: as dnsask(). */
NODISCARD enum err dnsask_referral(const struct addr *server, const char *zone,
                                   struct dnsask_referral *out, struct err_info *info);

#endif
