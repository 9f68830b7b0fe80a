#include "provisiond/relay/flow.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#define BY_HAND_MAX (64 * 1024)
#define HOW (SPLICE_F_MOVE | SPLICE_F_NONBLOCK)

/* What is in the pipe goes out. */
static enum flow_step flush(struct flow *f, struct flow_end *to, struct pipes *pipes, size_t *moved)
{
    while (f->held > 0) {
        if (!to->writable)
            return FLOW_BLOCKED;
        ssize_t n = splice(f->pipe[0], NULL, to->fd, NULL, f->held, HOW);
        if (n > 0) {
            f->held -= (size_t)n;
            *moved += (size_t)n;
        } else if (n < 0 && errno == EAGAIN) {
            to->writable = false;
        } else if (n == 0 || errno != EINTR) {
            return FLOW_BROKEN;
        }
    }
    pipes_give(pipes, f->pipe, true);
    return FLOW_MOVED;
}

/* Without a pipe, for want of descriptors: those who are connected must not suffer from others who
 * come. What the writer does not take stays with the reader's kernel. */
static enum flow_step move_by_hand(struct flow *f, struct flow_end *from, struct flow_end *to,
                                   size_t budget, size_t *moved)
{
    static _Thread_local uint8_t bytes[BY_HAND_MAX]; /* never outlives the call */
    if (!to->writable)
        return FLOW_BLOCKED;
    ssize_t n = recv(from->fd, bytes, budget < sizeof bytes ? budget : sizeof bytes,
                     MSG_PEEK | MSG_DONTWAIT);
    if (n == 0)
        f->eof = true;
    if (n < 0 && errno == EAGAIN)
        from->readable = false;
    if (n <= 0)
        return n == 0 ? FLOW_MOVED : errno == EAGAIN ? FLOW_BLOCKED : FLOW_BROKEN;
    n = send(to->fd, bytes, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        to->writable = false;
    if (n < 0)
        return errno == EAGAIN ? FLOW_BLOCKED : FLOW_BROKEN;
    *moved = (size_t)n;
    return recv(from->fd, NULL, (size_t)n, MSG_TRUNC | MSG_DONTWAIT) == n ? FLOW_MOVED
                                                                          : FLOW_BROKEN;
}

enum flow_step flow_move(struct flow *f, struct flow_end *from, struct flow_end *to,
                         struct pipes *pipes, size_t budget, size_t *moved)
{
    *moved = 0;
    if (f->held > 0) {
        enum flow_step s = flush(f, to, pipes, moved);
        return s == FLOW_MOVED || *moved == 0 ? s : FLOW_MOVED;
    }
    if (f->eof) {
        if (f->shut)
            return FLOW_BLOCKED;
        f->shut = true;
        return shutdown(to->fd, SHUT_WR) == 0 || errno == ENOTCONN ? FLOW_MOVED : FLOW_BROKEN;
    }
    if (!from->readable)
        return FLOW_BLOCKED;
    if (pipes_take(pipes, f->pipe) != ERR_OK)
        return move_by_hand(f, from, to, budget, moved);
    ssize_t n = splice(from->fd, NULL, f->pipe[1], NULL, budget, HOW);
    if (n <= 0) {
        int errnum = errno;
        pipes_give(pipes, f->pipe, true);
        if (n < 0 && errnum == EAGAIN)
            from->readable = false;
        else if (n == 0)
            f->eof = true;
        else if (errnum != EINTR)
            return FLOW_BROKEN;
        return n == 0 || errnum == EINTR ? FLOW_MOVED : FLOW_BLOCKED;
    }
    f->held = (size_t)n;
    return flush(f, to, pipes, moved) == FLOW_BROKEN ? FLOW_BROKEN : FLOW_MOVED;
}

void flow_clear(struct flow *f, struct pipes *pipes)
{
    if (f->held > 0)
        pipes_give(pipes, f->pipe, false);
    f->held = 0;
}
