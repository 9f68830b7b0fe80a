#include "provisiond/relay/pipes.h"

#include <fcntl.h>
#include <unistd.h>

enum err pipes_take(struct pipes *p, int fds[2])
{
    if (p->n_kept > 0) {
        p->n_kept--;
        fds[0] = p->kept[p->n_kept][0];
        fds[1] = p->kept[p->n_kept][1];
        return ERR_OK;
    }
    if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) != 0)
        return ERR_IO;
    /* a user has only so much for pipes: what there is will do, in more pieces */
    (void)fcntl(fds[1], F_SETPIPE_SZ, PIPES_BYTES);
    p->n_open++;
    return ERR_OK;
}

void pipes_give(struct pipes *p, int fds[2], bool empty)
{
    if (empty && p->n_kept < PIPES_KEPT_MAX) {
        p->kept[p->n_kept][0] = fds[0];
        p->kept[p->n_kept][1] = fds[1];
        p->n_kept++;
        return;
    }
    close(fds[0]);
    close(fds[1]);
    p->n_open--;
}

void pipes_clear(struct pipes *p)
{
    while (p->n_kept > 0) {
        p->n_kept--;
        close(p->kept[p->n_kept][0]);
        close(p->kept[p->n_kept][1]);
        p->n_open--;
    }
}
