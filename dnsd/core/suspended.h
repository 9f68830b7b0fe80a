/* suspended.h - what a zone answers no more: device ids and ranges of addresses. Built by one
 * thread from the text of a file (this allocates), then never changed, and read by any number of
 * them without a lock. Looking up an id is O(1), an address O(log n). */
#ifndef LANYARD_DNSD_CORE_SUSPENDED_H
#define LANYARD_DNSD_CORE_SUSPENDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/span.h"
#include "common/dns/iplabel.h"

#define SUSPENDED_ID_LEN 32 /* characters of an id, */
#define SUSPENDED_ID_BYTES 20
#define SUSPENDED_TEXT_MAX (512u << 20) /* bytes of a file: about 16 million ids */

/* First and last address of a range, network order; of IPv4 the first 4 bytes count. */
struct suspended_range {
    uint8_t first[16], last[16];
};

struct suspended {
    uint64_t seed; /* of the hash */
    uint8_t (*ids)[SUSPENDED_ID_BYTES];
    size_t n_ids;
    uint64_t *index; /* hash table: 32 bits of the hash, number of id + 1; 0 is free */
    size_t n_index;  /* a power of two, at least twice n_ids */
    struct suspended_range *ranges4, *ranges6; /* sorted, apart from each other */
    size_t n_ranges4, n_ranges6;
};

/* Reads the text of a file: one id, address or CIDR prefix a line; '#' begins a comment. `seed` is
 * random, so that nobody can choose ids that collide. The caller owns *out and calls
 * suspended_free(). Errors: ERR_CONFIG, `line` is then the line it is about, from 1; ERR_NOMEM. */
NODISCARD enum err suspended_parse(struct suspended **out, struct span text, uint64_t seed,
                                   unsigned *line, struct err_info *info);

void suspended_free(struct suspended *s);

/* `id` has SUSPENDED_ID_LEN characters of base32 in lower case. */
bool suspended_has_id(const struct suspended *s, struct span id);

bool suspended_has_ip(const struct suspended *s, const struct ip *ip);

#endif
