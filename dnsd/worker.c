#include "dnsd/worker.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/secret.h"
#include "dnsd/udp.h"

#define BATCHES_MAX 8 /* from one socket before the others get their turn */
#define STACK_LEN (256 * 1024)

struct worker {
    pthread_t thread;
    struct mailbox mailbox;
    struct reader *reader;
    struct udp_batch *batch;
    struct query_ctx ctx;
    struct tally tally;
    struct worker_ways ways;
    struct pollfd waits[]; /* for the sockets, the queues, the mailbox */
};

static void serve_socket(struct worker *w, int fd)
{
    unsigned batches = 0;
    while (udp_serve(w->batch, fd, &w->ctx, w->reader, &w->tally) == UDP_BATCH &&
           ++batches < BATCHES_MAX)
        ;
}

static void serve_queue(struct worker *w, struct xdp_queue *q, struct pollfd *wait)
{
    unsigned batches = 0;
    while (xdp_serve(q, &w->ctx, w->reader, w->ways.fds, &w->tally) == XDP_BATCH &&
           ++batches < BATCHES_MAX)
        ;
    if ((wait->revents & (POLLERR | POLLHUP | POLLNVAL)) != 0 && xdp_has_ended(q))
        wait->fd = -1; /* the interface has gone: the kernel gives its questions to the sockets */
}

static void *run(void *arg)
{
    struct worker *w = arg;
    const size_t n = w->ways.n_fds + w->ways.n_queues;
    for (;;) {
        if (poll(w->waits, n + 1, -1) < 0)
            continue; /* EINTR: the only failure there is */
        /* first: a question that is waiting beside a new view is answered from it; one that comes
         * after poll() has returned may still be among the batches of the view before */
        bool go_on = w->waits[n].revents == 0 || mailbox_read(&w->mailbox, &w->ctx.view);
        for (size_t i = 0; i < n; i++) {
            if (w->waits[i].revents == 0)
                continue;
            if (i < w->ways.n_fds)
                serve_socket(w, w->waits[i].fd);
            else
                serve_queue(w, w->ways.queues[i - w->ways.n_fds], &w->waits[i]);
        }
        if (!go_on)
            return NULL;
    }
}

static enum err start(struct worker *w, struct err_info *info)
{
    pthread_attr_t attr;
    if (pthread_attr_init(&attr) != 0)
        return err_set(info, ERR_NOMEM, "out of memory");
    (void)pthread_attr_setstacksize(&attr, STACK_LEN);
    int rc = pthread_create(&w->thread, &attr, run, w);
    pthread_attr_destroy(&attr);
    return rc == 0 ? ERR_OK : err_set(info, ERR_IO, "cannot start a thread: %s", strerror(rc));
}

enum err worker_new(struct worker **out, const struct worker_ways *ways, const struct view *view,
                    struct reader *reader, struct err_info *info)
{
    size_t n = ways->n_fds + ways->n_queues;
    struct worker *w = calloc(1, sizeof *w + (n + 1) * sizeof w->waits[0]);
    if (w == NULL)
        return err_set(info, ERR_NOMEM, "out of memory");
    w->reader = reader;
    w->ctx.view = view;
    w->ways = *ways;
    w->mailbox.fd = -1;
    uint64_t seed;
    secret_random(&seed, sizeof seed);
    enum err e = udp_batch_new(&w->batch);
    if (e == ERR_OK)
        e = rrl_new(&w->ctx.rrl, seed);
    if (e == ERR_OK)
        e = signer_new(&w->ctx.signer, SIGNER_KEPT);
    if (e != ERR_OK)
        (void)err_set(info, e, "out of memory");
    else
        e = mailbox_init(&w->mailbox, info);
    if (e == ERR_OK)
        w->tally.signatures = signer_counts(w->ctx.signer);
    for (size_t i = 0; i < n; i++)
        w->waits[i] =
            (struct pollfd){ .fd = i < ways->n_fds ? ways->fds[i]
                                                   : xdp_fd(ways->queues[i - ways->n_fds]),
                             .events = POLLIN };
    w->waits[n] = (struct pollfd){ .fd = w->mailbox.fd, .events = POLLIN };
    if (e == ERR_OK)
        e = start(w, info);
    if (e != ERR_OK) {
        mailbox_clear(&w->mailbox);
        signer_free(w->ctx.signer);
        udp_batch_free(w->batch);
        rrl_free(w->ctx.rrl);
        free(w);
        return e;
    }
    *out = w;
    return ERR_OK;
}

void worker_free(struct worker *w)
{
    if (w == NULL)
        return;
    mailbox_stop(&w->mailbox);
    pthread_join(w->thread, NULL);
    mailbox_clear(&w->mailbox);
    signer_free(w->ctx.signer);
    udp_batch_free(w->batch);
    rrl_free(w->ctx.rrl);
    free(w);
}

struct mailbox *worker_mailbox(struct worker *w)
{
    return &w->mailbox;
}

const struct tally *worker_tally(const struct worker *w)
{
    return &w->tally;
}
