/* admission.h - whether a device may enrol: the decision from the facts, what each refusal is told,
 * and which networks share a limit. Pure; any thread. */
#ifndef LANYARD_PROVISIOND_CORE_ADMISSION_H
#define LANYARD_PROVISIOND_CORE_ADMISSION_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/span.h"

enum admission {
    ADMISSION_FRESH,          /* admitted now */
    ADMISSION_KNOWN,          /* admitted before: nothing is used up */
    ADMISSION_SUSPENDED,      /* by the operator */
    ADMISSION_QUARANTINED,    /* forgotten, and a certificate for the id may still live */
    ADMISSION_OTHER_ZONE,     /* admitted elsewhere */
    ADMISSION_NOT_LISTED,     /* the zone's lists of devices do not let it in */
    ADMISSION_KEY_BLOCKED,    /* the identity key is known to others */
    ADMISSION_KEY_REUSED,     /* the identity key is another device's certificate key */
    ADMISSION_TOKEN,          /* no valid token */
    ADMISSION_FACTORY,        /* no valid factory certificate with its proof */
    ADMISSION_FACTORY_REUSED, /* the factory certificate admitted another device */
    ADMISSION_N
};

/* What is known of the device before anything is used up. */
struct admission_facts {
    bool known, suspended, forgotten; /* the device's row, where there is one */
    bool same_zone;
    int64_t quarantine_until; /* Unix seconds; counts when forgotten */
    bool key_blocked, key_reused;
    bool listed; /* the zone's lists let it in */
};

/* ADMISSION_FRESH when only the credential is left to look at. */
enum admission admission_judge(const struct admission_facts *f, int64_t now_s);

/* How a refusal is answered. `type` and `detail` are literals; retry_after_s 0: none. */
struct admission_answer {
    int status;
    const char *type, *detail;
    int64_t retry_after_s;
};
const struct admission_answer *admission_answer(enum admission a);

/* Limits count by network: first the household (an IPv4 address, an IPv6 /56), then the network it
 * is in (/24, /48). */
enum admission_net { ADMISSION_NET_HOME, ADMISSION_NET_WIDE };

/* Writes the leading bytes of the 4 or 16 bytes of `ip` that count; returns how many (0 for
 * another length). An IPv4 address mapped into IPv6 counts as the IPv4 address. */
size_t admission_prefix(struct span ip, enum admission_net net, uint8_t out[8]);

#endif
