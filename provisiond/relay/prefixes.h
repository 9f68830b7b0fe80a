/* prefixes.h - how many connections each network has: an IPv4 address or an IPv6 /64, as one
 * household has, and what around a /64 may be one customer's, too: a /48. Pure but for its seed;
 * one thread. */
#ifndef LANYARD_PROVISIOND_RELAY_PREFIXES_H
#define LANYARD_PROVISIOND_RELAY_PREFIXES_H

#include <stdint.h>
#include <sys/socket.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "provisiond/core/gcra.h"

#define PREFIX_LEN 9  /* bytes: family, address */
#define PREFIX_WIDE 8 /* times as much may come from a /48 as from a /64 in it */

struct prefix {
    uint8_t bytes[PREFIX_LEN];
};

struct prefixes; /* opaque */

/* Errors: ERR_NOMEM, ERR_RANGE. */
NODISCARD enum err prefixes_new(struct prefixes **out, struct gcra_rate rate);
void prefixes_free(struct prefixes *p);

/* From now on: see gcra.h. */
void prefixes_set_rate(struct prefixes *p, struct gcra_rate rate);

/* The network of `sa`. */
struct prefix prefix_of(const struct sockaddr *sa);

/* Counts one more of `prefix`. Errors: ERR_LIMIT when it has `max` already, or when they come
 * faster than the rate, or its /48 has PREFIX_WIDE times as many, or as fast (but for the at most
 * 1,000 a second that a rate can say); ERR_NOMEM. */
NODISCARD enum err prefixes_take(struct prefixes *p, const struct prefix *prefix, size_t max,
                                 int64_t now_ms);

/* One less. */
void prefixes_give(struct prefixes *p, const struct prefix *prefix);

/* How many networks have any: a /48 counts as one more. */
size_t prefixes_count(const struct prefixes *p);

#endif
