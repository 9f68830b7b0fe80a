/* signwatch.h - what signed zones need while they are served: their static records are signed anew
 * before the signatures get old, keys whose planned time has come ask for a reload, and the clock
 * that all of it goes by is watched. The main thread's; no input or output but the log. */
#ifndef LANYARD_DNSD_SIGNWATCH_H
#define LANYARD_DNSD_SIGNWATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "dnsd/core/view.h"

/* Signatures made at most by one signwatch_poll(): about 10 ms of the main thread. */
#define SIGNWATCH_MAX 256

struct signwatch_counts {
    uint64_t renewed;     /* signatures made anew ahead */
    uint64_t failed;      /* polls that could not */
    uint64_t clock_steps; /* times that somebody set the clock */
    bool clock_is_wrong;  /* nothing is signed */
};

struct signwatch; /* opaque */

/* `now_s` of the wall clock, `mono_ms` of the monotonic one. The caller calls signwatch_free().
 * Errors: ERR_NOMEM, ERR_CRYPTO. */
NODISCARD enum err signwatch_new(struct signwatch **out, int64_t now_s, int64_t mono_ms);
void signwatch_free(struct signwatch *w);

/* Looks at `v`, once a second or so: `now_s` of the wall clock, `mono_ms` of the monotonic one.
 * *out is a renewed view of it when signatures were made anew, NULL otherwise. */
void signwatch_poll(struct signwatch *w, const struct view *v, int64_t now_s, int64_t mono_ms,
                    struct view **out);

/* Whether the time of a key has come that makes another ring of it, once for each such time; or,
 * since the clock was set back, is still to come. */
bool signwatch_wants_reload(struct signwatch *w, const struct view *v, int64_t now_s);

const struct signwatch_counts *signwatch_counts(const struct signwatch *w);

#endif
