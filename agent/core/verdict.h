/* verdict.h - does a resolver let the private addresses of the zone pass, and if not, how does it
 * keep them back? The questions to ask, and what the answers mean. A true "no such record" of the
 * zone carries the zone's SOA and a filtered one does not, and the TXT record of the same name
 * passes every filter: these two tell them apart. Pure; any thread. */
#ifndef LANYARD_AGENT_CORE_VERDICT_H
#define LANYARD_AGENT_CORE_VERDICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/core/lookup.h"
#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/cure/cure.h"
#include "common/dns/iplabel.h"
#include "common/dns/name.h"

#define VERDICT_RESOLVERS_MAX 8
#define VERDICT_ADDRESS_MAX 64 /* characters with the NUL */
#define VERDICT_HINTS_MAX 192
#define VERDICT_RANGES_N 3

/* The questions. The first four tell whether anybody is there at all. */
enum verdict_ask {
    ASK_ZONE,    /* the NS of the zone */
    ASK_CONTROL, /* a name of the zone with a public address */
    ASK_OWN,     /* the private IPv4 address of this device: what matters */
    ASK_OWN_TXT, /* the TXT record of the same name */
    ASK_ULA,     /* a private IPv6 address */
    ASK_GUA,     /* the public IPv6 address of this device, when it has a name */
    ASK_10,      /* one address of each private range */
    ASK_172,
    ASK_192,
    ASK_CGNAT, /* 100.64.0.0/10, loopback: whose filter this is */
    ASK_LOOPBACK,
    ASK_VERSION, /* what the resolver says of itself */
    ASK_REVERSE, /* the name of its address */
    ASK_OWN_RAW, /* ASK_OWN unvalidated, when it was SERVFAIL */
    VERDICT_ASK_N
};

#define VERDICT_FIRST_N 4

enum verdict_class {
    VERDICT_NONE, /* was not asked */
    VERDICT_OK,
    VERDICT_EMPTY_EDE15, /* NOERROR and nothing, "Blocked" */
    VERDICT_EMPTY,       /* NOERROR and nothing */
    VERDICT_NODATA,      /* the same from the zone itself: no filter */
    VERDICT_NXDOMAIN,    /* though the name exists */
    VERDICT_MISSING,     /* NXDOMAIN, and nothing shows that the name exists */
    VERDICT_REFUSED,
    VERDICT_BOGUS,    /* SERVFAIL of a validator that found its own filtered answer */
    VERDICT_SERVFAIL, /* or another error */
    VERDICT_ZERO,     /* 0.0.0.0, :: */
    VERDICT_REWRITE,  /* another address */
    VERDICT_DROP,     /* no answer to this question */
    VERDICT_BLOCKED,  /* the whole zone */
    VERDICT_OFFLINE,  /* the zone cannot be had by any way */
    VERDICT_DOWN,     /* no answer at all */
    VERDICT_CLASS_N
};

/* Where a resolver was found. */
enum verdict_source {
    SOURCE_CONFIGURED,
    SOURCE_SYSTEM,    /* resolv.conf */
    SOURCE_UPSTREAM,  /* behind the stub of systemd-resolved */
    SOURCE_GATEWAY,   /* the router, which devices of this network may ask: counts if it answers */
    SOURCE_NETWORK,   /* those that the network names to its devices: the same */
    SOURCE_REFERENCE, /* a name server of the zone: no resolver, but the truth */
};

/* What the questions are about. */
struct verdict_subject {
    struct name zone;
    char id[33];
    struct ip own; /* private, IPv4 */
    struct ip ula; /* private, IPv6 */
    struct ip gua; /* family 0: none */
    char gua_label[64];
};

struct verdict_seen {
    bool asked, answered;
    struct lookup_reply reply;
};

/* What is known of one resolver. */
struct verdict_resolver {
    char address[VERDICT_ADDRESS_MAX]; /* with the port */
    enum verdict_source source;
    enum verdict_class v4, ula, gua;
    enum verdict_class ranges[VERDICT_RANGES_N]; /* 10/8, 172.16/12, 192.168/16 */
    int ede;                                     /* of the answer about our own address; -1: none */
    char hints[VERDICT_HINTS_MAX];               /* what it says of itself; "" for nothing */
    size_t n_cures;
    const struct cure *cures[CURE_GUESS_MAX]; /* likeliest first */
};

enum verdict_rebinding { REBINDING_UNKNOWN, REBINDING_NO, REBINDING_YES, REBINDING_MIXED };

struct verdict_report {
    char zone[256]; /* text */
    char name[256]; /* that was asked for */
    int64_t checked_at;
    enum verdict_rebinding rebinding;
    size_t n;
    struct verdict_resolver list[VERDICT_RESOLVERS_MAX];
};

/* One resolver with its answers, for verdict_judge(). */
struct verdict_answers {
    char address[VERDICT_ADDRESS_MAX];
    enum verdict_source source;
    struct ip ip; /* of `address`, for ASK_REVERSE */
    struct verdict_seen seen[VERDICT_ASK_N];
};

/* The question of `ask`, without an id. Errors: ERR_NOTFOUND when it makes no sense for this
 * subject and these answers so far; it is then left out. */
NODISCARD enum err verdict_question(struct lookup *out, enum verdict_ask ask,
                                    const struct verdict_subject *s,
                                    const struct verdict_answers *a);

/* Judges `n` resolvers, of which one may be the reference; a gateway and others of the network's
 * that do not answer, and the reference, are left out of the report. Fills everything but
 * checked_at. */
void verdict_judge(struct verdict_report *out, const struct verdict_subject *s,
                   const struct verdict_answers *list, size_t n);

/* How long until it is time to look again: six hours, or five minutes while no resolver could be
 * judged; `r` NULL: there was no verdict. */
int64_t verdict_lasts_s(const struct verdict_report *r);

/* "FILTER_EMPTY"; NULL for VERDICT_NONE. */
const char *verdict_class_name(enum verdict_class c);

/* A clause about the resolver: "lets private addresses pass". */
const char *verdict_class_text(enum verdict_class c);

/* Whether `c` is a resolver's own doing. */
bool verdict_is_filter(enum verdict_class c);

#endif
