/* lane.h - the thread of one challenge store, and the questions that wait for it. A read that fails
 * slowly closes the lane: from then on questions are turned away at once, and the store is asked in
 * the background until it answers. Only reader.c uses this. */
#ifndef LANYARD_DNSD_LANE_H
#define LANYARD_DNSD_LANE_H

#include "dnsd/reader.h"

struct lane; /* opaque */

/* Starts the thread. `url` is copied; NULL for a lane that has no store, only lane_mark(). Any
 * thread. Errors: ERR_NOMEM, ERR_IO; *out is then untouched. */
NODISCARD enum err lane_new(struct lane **out, const char *url, struct err_info *info);

/* Tells the thread to end; questions still queued get no reply. Any thread. */
void lane_stop(struct lane *l);

/* Whether it has ended, so that lane_free() does not wait. Any thread. */
bool lane_has_ended(const struct lane *l);

/* Ends the thread, waiting for what it has in hand; the rest can still be called. The owner. */
void lane_end(struct lane *l);

/* Likewise, and frees it. */
void lane_free(struct lane *l);

const char *lane_url(const struct lane *l);

/* As reader_submit(). */
NODISCARD bool lane_submit(struct lane *l, const struct query_challenge *challenge,
                           const struct reader_return *ret);

/* Has passed(arg) called on the lane's thread once every question that was queued so far has been
 * answered. One at a time. Any thread. */
void lane_mark(struct lane *l, void (*passed)(void *arg), void *arg);

/* Has the store read, for lane_last_check(). Any thread. */
void lane_check(struct lane *l);

/* What the last check found; *at_ms is when, on the monotonic clock (before the first: when the
 * lane was made). Any thread. */
enum reader_state lane_last_check(const struct lane *l, int64_t *at_ms);

/* Adds its counters to `sum`. Any thread. */
void lane_add_counts(const struct lane *l, struct reader_counts *sum);

#endif
