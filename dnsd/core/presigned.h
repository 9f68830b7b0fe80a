/* presigned.h - the signatures over the static records of one zone, made ahead: at load, and again
 * an hour before each gets too old, so that no question has to wait for them. Made by one thread
 * (this allocates, and takes its time), then never changed; a view can be renewed with newer ones,
 * and the same zones. */
#ifndef LANYARD_DNSD_CORE_PRESIGNED_H
#define LANYARD_DNSD_CORE_PRESIGNED_H

#include "common/base/attr.h"
#include "common/base/err.h"
#include "dnsd/core/zone.h"

/* How long before it is made anew a signature is replaced; less than SIGN_EARLY_S, so that the new
 * one is valid already. */
#define PRESIGNED_AHEAD_S 3600

/* Of one set: RRSIG records, ready-made like those that they sign. */
struct presig {
    int64_t from_s, renew_s; /* to be used from, and until before: the week, and an hour ahead */
    uint16_t n;
    size_t len;
    uint8_t rrs[];
};

struct presigned {
    int64_t from_s, due_s; /* nothing has to be made anew from, and until before */
    size_t n;
    struct presig *at[]; /* by number of the set; NULL where nothing is ever signed */
};

/* Signs what is static in `z`, which zonesign_finish() has seen, by `signer`, which has no budget.
 * The caller owns *out, until it is part of a view. Errors: of signer_sign(), ERR_NOMEM; ERR_RANGE
 * for a clock that is older than a key. */
NODISCARD enum err presigned_new(struct presigned **out, const struct zone *z,
                                 struct signer *signer, int64_t now_s);

/* Whether some of it has to be made anew at `now_s`; the clock may have gone either way. */
bool presigned_is_due(const struct presigned *p, int64_t now_s);

/* A copy of `old` with up to `n_max` signatures made anew of those that have to be; the others are
 * shared. *n is how many. Errors: as presigned_new(). */
NODISCARD enum err presigned_renew(struct presigned **out, const struct presigned *old,
                                   const struct zone *z, struct signer *signer, int64_t now_s,
                                   size_t n_max, size_t *n);

/* Frees `old`, which may be NULL, except for what it shares with `next`, which may be too. */
void presigned_retire(struct presigned *old, const struct presigned *next);

#endif
