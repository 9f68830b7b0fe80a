/* rrl.h - response rate limiting: how many answers one network gets over UDP without having shown
 * that it is where it says. Answers are counted by client prefix (IPv4 /24, IPv6 /56) and kind of
 * answer, never by name: names cost a flood nothing here. Nor by zone: a victim does not care which
 * one the bytes are from.
 * One table of a fixed size for each worker; it allocates at its creation only. One thread. */
#ifndef LANYARD_DNSD_CORE_RRL_H
#define LANYARD_DNSD_CORE_RRL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/span.h"

#define RRL_EXEMPT_MAX 64

enum rrl_kind {
    RRL_STATIC,
    RRL_ADDRESS,
    RRL_NEGATIVE,
    RRL_CHALLENGE,
    RRL_REFERRAL,
    RRL_REFUSED,
    RRL_ERROR,
    RRL_N
};

/* A network that is never limited. */
struct rrl_net {
    uint8_t ip[16];
    uint8_t ip_len;   /* 4 or 16 */
    uint8_t n_prefix; /* bits that count */
};

struct rrl_policy {
    unsigned
        per_second; /* answers of one kind to one prefix, and twice that of all kinds; 0: off */
    unsigned slip;  /* every how many of the others are answered by a few bytes; 0: none */
    size_t n_exempt;
    struct rrl_net exempt[RRL_EXEMPT_MAX];
};

enum rrl_verdict { RRL_ANSWER, RRL_SLIP, RRL_DROP };

struct rrl; /* opaque: 0.75 MiB */

/* A table whose hash has the random `seed`. The caller owns *out. Errors: ERR_NOMEM. */
NODISCARD enum err rrl_new(struct rrl **out, uint64_t seed);
void rrl_free(struct rrl *r);

/* What is counted for a client at `ip` (4 or 16 bytes). Prefixes of the two families differ. */
uint64_t rrl_prefix(struct span ip);

/* Counts one answer of `kind` for the client at `ip`. Without system calls; about 40 instructions
 * while there is no flood. `now_s` may go back: the counts begin anew then. */
enum rrl_verdict rrl_count(struct rrl *r, const struct rrl_policy *p, struct span ip,
                           enum rrl_kind kind, int64_t now_s);

#endif
