/* zone.h - one served zone: its static names with ready-made records, and its policy. Built by one
 * thread (this allocates), then never changed, and read by any number of them without a lock. */
#ifndef LANYARD_DNSD_CORE_ZONE_H
#define LANYARD_DNSD_CORE_ZONE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/span.h"
#include "common/dns/name.h"
#include "common/dns/rr.h"
#include "dnsd/core/keyring.h"
#include "dnsd/core/synth.h"

#define ZONE_RR_HEAD 12          /* bytes of a ready-made record before its data */
#define ZONE_NEGATIVE_TTL_S 3600 /* SOA MINIMUM where there is no zone file */

/* The records of one name and type, ready to be copied into a reply: each is a pointer to offset 12
 * (the question's name), type, class, TTL, length, data without compression. */
struct rrset {
    uint16_t type;
    uint16_t n;
    uint32_t ttl_s;
    uint8_t *rrs;
    size_t len;
    uint32_t number; /* in a signed zone: its place among all sets */
};

struct zone_node {
    uint8_t *name; /* wire form, lower case */
    uint8_t len;
    bool is_cut;    /* NS records below the apex: what is under it belongs to others */
    uint8_t n_sets; /* 0 is an empty non-terminal */
    struct rrset *sets;
    uint16_t n_glue;
    uint8_t *glue; /* address records of a cut's servers, with their owner names */
    size_t glue_len;
};

struct zone {
    struct name apex;
    uint32_t number;          /* its place in the view */
    char text[NAME_TEXT_MAX]; /* of the apex, without the final dot */
    struct synth_policy policy;
    char *challenges;              /* URL of the challenge store, NULL for none */
    char *challenges_of;           /* zone whose values they are, NULL for this one */
    struct name *challenges_cname; /* what stands behind <id> in place of them, or NULL */
    struct zone_node *nodes;       /* [0] is the apex */
    size_t n_nodes;
    uint32_t n_sets; /* of all nodes, in a signed zone */
    uint32_t *index; /* hash table of number of node + 1; 0 is free */
    size_t n_index;  /* a power of two, at least twice n_nodes */
    const struct rrset *soa;
    struct keyring *keyring; /* NULL: the zone is not signed */
    uint32_t negative_ttl_s; /* the most that the SOA allows [RFC 2308 s3] */
};

/* A zone without records. The caller owns *out and calls zone_free(). Errors: ERR_NOMEM. */
NODISCARD enum err zone_new(struct zone **out, const struct name *apex);

void zone_free(struct zone *z);

/* Adds a static record of class IN. The data is in wire form without compression. A record that is
 * there already is left out; of different TTLs in a set the lowest counts [RFC 2181 s5.2].
 * Errors: ERR_CONFIG with what to do: a name outside the zone, a wildcard, a name under a device id
 * (those are synthesised), a CNAME beside other data, a second SOA, a type that is not served;
 * ERR_NOMEM; ERR_LIMIT. */
NODISCARD enum err zone_add(struct zone *z, const struct name *owner, unsigned type, uint32_t ttl_s,
                            struct span data, struct err_info *info);

/* Completes the zone: it must have its SOA and NS records by now. After this it is only read.
 * Errors: ERR_CONFIG, ERR_NOMEM. */
NODISCARD enum err zone_finish(struct zone *z, struct err_info *info);

/* The serial of the SOA record of a finished zone. */
uint32_t zone_serial(const struct zone *z);

/* Whether serial `a` is older than `b` [RFC 1982 s3.2]; half of the circle apart counts as older.
 */
bool zone_serial_is_before(uint32_t a, uint32_t b);

/* The node of the name in wire form, or NULL. */
const struct zone_node *zone_find(const struct zone *z, struct span wire);

/* The records of `type`, or NULL. */
const struct rrset *node_rrset(const struct zone_node *n, unsigned type);

#endif
