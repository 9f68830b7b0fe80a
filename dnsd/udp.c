#include "dnsd/udp.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/net/listen.h"
#include "dnsd/datagram.h"

#define RECEIVE_BUFFER_LEN (4 << 20) /* a burst of thousands of questions waits there unharmed */
#define SEND_WAIT_MS 10

/* Of a question, and of the reply that takes its place. An odd number of cache lines, so that the
 * starts of the buffers do not compete for the same few. A longer question is cut, which makes it
 * malformed. */
#define BUFFER_LEN (33 * 64)

struct udp_batch {
    unsigned n_batches;
    struct mmsghdr in[UDP_BATCH], out[UDP_BATCH];
    struct iovec in_data[UDP_BATCH], out_data[UDP_BATCH];
    struct sockaddr_storage peers[UDP_BATCH];
    _Alignas(struct cmsghdr) uint8_t control[UDP_BATCH][READER_CONTROL_LEN];
    uint8_t buffers[UDP_BATCH][BUFFER_LEN];
};

_Static_assert(BUFFER_LEN >= DNS_EDNS_LEN, "a reply of the largest size fits");
_Static_assert(READER_CONTROL_LEN >= CMSG_SPACE(sizeof(struct in6_pktinfo)), "control data fits");

enum err udp_batch_new(struct udp_batch **out)
{
    struct udp_batch *b = calloc(1, sizeof *b);
    if (b == NULL)
        return ERR_NOMEM;
    for (unsigned i = 0; i < UDP_BATCH; i++) {
        b->in_data[i] = (struct iovec){ b->buffers[i], BUFFER_LEN };
        b->in[i].msg_hdr = (struct msghdr){ .msg_name = &b->peers[i],
                                            .msg_iov = &b->in_data[i],
                                            .msg_iovlen = 1,
                                            .msg_control = b->control[i] };
        b->out[i].msg_hdr = (struct msghdr){ .msg_iov = &b->out_data[i], .msg_iovlen = 1 };
    }
    *out = b;
    return ERR_OK;
}

void udp_batch_free(struct udp_batch *b)
{
    free(b);
}

/* A socket bound to every address has to learn which one was asked, to reply from it. */
static int want_destination(int fd, const struct addr *a)
{
    int on = 1;
    if (a->ss.ss_family == AF_INET6) {
        const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)&a->ss;
        return !IN6_IS_ADDR_UNSPECIFIED(&sin6->sin6_addr)
                   ? 0
                   : setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on);
    }
    const struct sockaddr_in *sin = (const struct sockaddr_in *)&a->ss;
    return sin->sin_addr.s_addr != htonl(INADDR_ANY)
               ? 0
               : setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
}

enum err udp_adopt(int fd, const struct addr *a, struct err_info *info)
{
    /* replies are small enough for any path: forged "too big" messages are not believed */
    int omit = a->ss.ss_family == AF_INET6 ? IPV6_PMTUDISC_OMIT : IP_PMTUDISC_OMIT;
    int rc = a->ss.ss_family == AF_INET6
                 ? setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &omit, sizeof omit)
                 : setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &omit, sizeof omit);
    if (rc == 0 && want_destination(fd, a) == 0)
        return ERR_OK;
    enum err e = err_set(info, ERR_IO, "cannot set up a UDP socket: %s", strerror(errno));
    close(fd);
    return e;
}

enum err udp_open(int *fd, const struct addr *a, struct err_info *info)
{
    int s = -1;
    enum err e = listen_udp(&s, a, true, RECEIVE_BUFFER_LEN, info);
    if (e == ERR_OK)
        e = udp_adopt(s, a, info);
    if (e == ERR_OK)
        *fd = s;
    return e;
}

/* Turns the control data of a question into that of its reply: from the address that was asked, by
 * the route that the system chooses. */
static void turn_control(struct msghdr *h)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c != NULL; c = CMSG_NXTHDR(h, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo *p = (struct in_pktinfo *)(void *)CMSG_DATA(c);
            p->ipi_ifindex = 0;
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo *p = (struct in6_pktinfo *)(void *)CMSG_DATA(c);
            if (!IN6_IS_ADDR_LINKLOCAL(&p->ipi6_addr))
                p->ipi6_ifindex = 0;
        }
    }
}

void udp_send_later(const struct reader_return *ret, struct span reply)
{
    struct reader_return to = *ret; /* the interface takes no const */
    struct iovec data = { (void *)(uintptr_t)reply.p, reply.len };
    struct msghdr h = { .msg_name = &to.peer,
                        .msg_namelen = to.peer_len,
                        .msg_iov = &data,
                        .msg_iovlen = 1,
                        .msg_control = to.control_len > 0 ? to.control : NULL,
                        .msg_controllen = to.control_len };
    (void)sendmsg(to.fd, &h, MSG_DONTWAIT | MSG_NOSIGNAL); /* lost like any datagram */
}

/* A question that has to wait, and where it came in. */
struct waiting {
    struct reader *reader;
    int fd;
    struct msghdr *h;
};

static bool defer(void *arg, const struct query_challenge *c)
{
    const struct waiting *w = arg;
    const struct msghdr *h = w->h;
    struct reader_return ret = {
        .send = udp_send_later, .transport = TALLY_UDP, .fd = w->fd, .peer_len = h->msg_namelen
    };
    memcpy(&ret.peer, h->msg_name, h->msg_namelen);
    turn_control(w->h);
    if (h->msg_controllen > 0 && h->msg_controllen <= sizeof ret.control) {
        ret.control_len = h->msg_controllen;
        memcpy(ret.control, h->msg_control, h->msg_controllen);
    }
    return reader_submit(w->reader, c, &ret);
}

/* Sends the first `n` replies. One that the system refuses is left out. */
static void send_all(struct udp_batch *b, int fd, unsigned n, struct tally *tally)
{
    bool waited = false;
    for (unsigned i = 0; i < n;) {
        int sent = sendmmsg(fd, b->out + i, n - i, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent > 0) {
            i += (unsigned)sent;
        } else if (errno == EINTR) {
            continue;
        } else if ((errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS) && !waited) {
            struct pollfd p = { .fd = fd, .events = POLLOUT };
            (void)poll(&p, 1, SEND_WAIT_MS);
            waited = true;
        } else {
            metric_add(&tally->unsent, 1);
            i++;
        }
    }
}

unsigned udp_serve(struct udp_batch *b, int fd, struct query_ctx *ctx, struct reader *reader,
                   struct tally *tally)
{
    for (unsigned i = 0; i < UDP_BATCH; i++) {
        b->in[i].msg_hdr.msg_namelen = sizeof b->peers[i];
        b->in[i].msg_hdr.msg_controllen = READER_CONTROL_LEN;
    }
    int n = recvmmsg(fd, b->in, UDP_BATCH, MSG_DONTWAIT, NULL);
    if (n <= 0)
        return 0;
    unsigned n_out = 0;
    int64_t began_us = ++b->n_batches % DATAGRAM_TIMED_EVERY == 0 ? clock_mono_us() : 0;
    ctx->now_s = clock_now_s();
    for (unsigned i = 0; i < (unsigned)n; i++) {
        struct msghdr *h = &b->in[i].msg_hdr;
        uint8_t *reply = b->buffers[i];
        struct span request = { reply, b->in[i].msg_len };
        const struct peer peer = { .ip = addr_ip((const struct sockaddr *)&b->peers[i]) };
        struct waiting waiting = { reader, fd, h };
        size_t len =
            datagram_answer(ctx, tally, reply, BUFFER_LEN, request, &peer, defer, &waiting);
        if (len == 0)
            continue;
        if (h->msg_controllen > 0)
            turn_control(h);
        b->out_data[n_out] = (struct iovec){ reply, len };
        struct msghdr *o = &b->out[n_out].msg_hdr;
        o->msg_name = h->msg_name;
        o->msg_namelen = h->msg_namelen;
        o->msg_control = h->msg_controllen > 0 ? h->msg_control : NULL;
        o->msg_controllen = h->msg_controllen;
        n_out++;
    }
    send_all(b, fd, n_out, tally);
    if (began_us != 0)
        metric_observe(&tally->batch, clock_mono_us() - began_us);
    return (unsigned)n;
}
