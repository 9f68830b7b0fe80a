/* loop.h - one thread, one event loop, and it owns its objects. Everything here is called on the
 * loop's thread, except loop_post() and loop_stop(), which any thread may call.
 * Callbacks are adapters of two lines: recover the context, call the noun's own function. */
#ifndef LANYARD_NET_LOOP_H
#define LANYARD_NET_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"

struct event_base;
struct loop; /* opaque */

/* A new loop; the caller calls loop_free() after loop_run() has returned. Ignores SIGPIPE in the
 * whole process: set it back before an exec. Errors: ERR_NOMEM. */
NODISCARD enum err loop_new(struct loop **out);

/* The same inside somebody else's process, whose signals are not touched: the loop's thread must
 * block SIGPIPE. */
NODISCARD enum err loop_new_hosted(struct loop **out);

/* Frees the loop. Its timers, signals and watches must be gone before. Tasks still posted are
 * dropped without a call. */
void loop_free(struct loop *l);

/* Runs until loop_stop(). The calling thread is the loop's thread from here on. */
void loop_run(struct loop *l);

/* Makes loop_run() return after the callback that is running. Any thread. */
void loop_stop(struct loop *l);

/* Calls fn(arg) on the loop's thread, in the order of posting. The only thing that crosses threads.
 * Errors: ERR_NOMEM. */
NODISCARD enum err loop_post(struct loop *l, void (*fn)(void *arg), void *arg);

/* libevent's base, for the modules of common/net and sockets of their own. Borrowed. */
struct event_base *loop_base(struct loop *l);

struct loop_timer; /* opaque: one timer, not armed when new */

NODISCARD enum err loop_timer_new(struct loop_timer **out, struct loop *l, void (*fn)(void *arg),
                                  void *arg);
void loop_timer_free(struct loop_timer *t);

/* Arms the timer to fire once after `delay_ms` (0 or more; clamped to a day), instead of any
 * earlier setting. */
void loop_timer_set(struct loop_timer *t, int64_t delay_ms);
void loop_timer_cancel(struct loop_timer *t);

struct loop_signal; /* opaque */

/* Calls fn(arg) on the loop for each delivery of signal `signum`. */
NODISCARD enum err loop_signal_new(struct loop_signal **out, struct loop *l, int signum,
                                   void (*fn)(void *arg), void *arg);
void loop_signal_free(struct loop_signal *s);

#endif
