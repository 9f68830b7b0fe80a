/* synth.h - the names that exist without being written down: a device id directly below the apex of
 * a zone, and below it the names of challenges and one label for each address. Pure; no allocation.
 */
#ifndef LANYARD_DNSD_CORE_SYNTH_H
#define LANYARD_DNSD_CORE_SYNTH_H

#include <stdbool.h>
#include <stdint.h>

#include "common/dns/iplabel.h"
#include "common/dns/name.h"
#include "dnsd/core/guard.h"

#define SYNTH_ID_LEN 32 /* characters of a device id: base32 of 20 bytes */
#define SYNTH_TTL_PRIVATE_S 86400
#define SYNTH_TTL_PUBLIC_S 3600

enum synth_public {
    SYNTH_PUBLIC_TAGGED, /* p<tag>-<ip> with a valid tag */
    SYNTH_PUBLIC_ALL,    /* <ip> as well */
    SYNTH_PUBLIC_NONE    /* neither */
};

/* What a zone answers. */
struct synth_policy {
    enum synth_public public_answers;
    bool loopback;        /* 127/8 and ::1 */
    bool challenges_only; /* <id> itself has the challenge values of another zone, and no more */
};

enum synth_kind {
    SYNTH_OTHER,     /* not below a device id: for the zone's static names to decide */
    SYNTH_MISSING,   /* a suspended id, or below an id, where there is no such name */
    SYNTH_DEVICE,    /* <id>: an empty non-terminal */
    SYNTH_CHALLENGE, /* _acme-challenge.<id>, or <id> with challenges_only; or of the other kind */
    SYNTH_ADDRESS    /* <ip>.<id> or p<tag>-<ip>.<id>, and policy and guard answer it */
};

struct synth {
    enum synth_kind kind;
    struct ip ip;   /* of SYNTH_ADDRESS */
    uint32_t ttl_s; /* of SYNTH_ADDRESS */
    bool suspended; /* SYNTH_MISSING because the operator says so */
    bool persist; /* SYNTH_CHALLENGE that is _validation-persist.<id>: the guard has its records */
};

/* Whether `label` has the form of a device id, in lower case. */
bool synth_is_id(struct span label);

/* Tells what `name` is in a zone whose apex has `n_apex` labels; `name` is within it. */
void synth_match(struct synth *out, const struct synth_policy *policy, const struct guard *guard,
                 const struct name *name, unsigned n_apex);

#endif
