/* mailbox.h - how a thread that serves from a view is woken, stopped, and given the next view.
 * Each serving thread owns one; the main thread posts into it. */
#ifndef LANYARD_DNSD_MAILBOX_H
#define LANYARD_DNSD_MAILBOX_H

#include <stdatomic.h>
#include <stdbool.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "dnsd/core/view.h"

/* One view in the place of another. Each serving thread acknowledges once it uses `view`; the last
 * one calls done(change), on its own thread: from then on no thread looks at `old`. */
struct view_change {
    const struct view *view;
    struct view *old;
    atomic_uint n_waiting; /* threads that may still use `old` */
    void (*done)(struct view_change *change);
    void *arg; /* for done() */
};

struct mailbox {
    int fd; /* eventfd: readable when there is something to look at */
    atomic_bool stop;
    _Atomic(struct view_change *) change;
    atomic_uint asked, answered; /* pings */
};

NODISCARD enum err mailbox_init(struct mailbox *m, struct err_info *info);
void mailbox_clear(struct mailbox *m);

/* Any thread: makes m->fd readable. */
void mailbox_wake(struct mailbox *m);

/* The main thread: hands a change over; the one before has been acknowledged. */
void mailbox_post(struct mailbox *m, struct view_change *change);

/* The main thread: tells the owner to end. */
void mailbox_stop(struct mailbox *m);

/* The main thread: asks the owner for a sign of life. */
void mailbox_ping(struct mailbox *m);

/* Whether the owner has answered the last ping. Any thread. */
bool mailbox_has_answered(const struct mailbox *m);

/* The owner, when m->fd is readable: takes over a waiting change into *view and acknowledges it.
 * False when the thread has to end. */
NODISCARD bool mailbox_read(struct mailbox *m, const struct view **view);

#endif
