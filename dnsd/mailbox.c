#include "dnsd/mailbox.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum err mailbox_init(struct mailbox *m, struct err_info *info)
{
    m->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    atomic_init(&m->stop, false);
    atomic_init(&m->change, NULL);
    atomic_init(&m->asked, 0);
    atomic_init(&m->answered, 0);
    if (m->fd < 0)
        return err_set(info, ERR_IO, "cannot make an eventfd: %s", strerror(errno));
    return ERR_OK;
}

void mailbox_clear(struct mailbox *m)
{
    if (m->fd >= 0)
        close(m->fd);
    m->fd = -1;
}

void mailbox_wake(struct mailbox *m)
{
    (void)eventfd_write(m->fd, 1); /* fails only when it is readable already */
}

void mailbox_post(struct mailbox *m, struct view_change *change)
{
    atomic_store(&m->change, change);
    mailbox_wake(m);
}

void mailbox_stop(struct mailbox *m)
{
    atomic_store(&m->stop, true);
    mailbox_wake(m);
}

void mailbox_ping(struct mailbox *m)
{
    atomic_fetch_add(&m->asked, 1);
    mailbox_wake(m);
}

bool mailbox_has_answered(const struct mailbox *m)
{
    return atomic_load(&m->answered) == atomic_load(&m->asked);
}

bool mailbox_read(struct mailbox *m, const struct view **view)
{
    eventfd_t unused;
    (void)eventfd_read(m->fd, &unused);
    atomic_store(&m->answered, atomic_load(&m->asked));
    struct view_change *change = atomic_exchange(&m->change, NULL);
    if (change != NULL) {
        *view = change->view;
        if (atomic_fetch_sub(&change->n_waiting, 1) == 1)
            change->done(change);
    }
    return !atomic_load(&m->stop);
}
