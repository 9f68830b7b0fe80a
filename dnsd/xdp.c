#include "dnsd/xdp.h"

#include <errno.h>
#include <ifaddrs.h>
#include <linux/ethtool.h>
#include <linux/if_xdp.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "dnsd/core/frame.h"
#include "dnsd/datagram.h"
#include "dnsd/udp.h"
#include "dnsd/xdpfilter.h"

#define FRAMES 4096 /* of a queue: a burst as large waits there unharmed */
#define FRAME_LEN 2048
#define HEADROOM 256 /* that the kernel leaves before a frame */
#define QUEUES_MAX 64
#define SEND_WAIT_MS 10

/* A ring shared with the kernel. Each is as long as there are frames, and a frame is in one ring at
 * a time, so that none is ever too full. */
struct ring {
    uint32_t *producer, *consumer;
    void *entries;
    void *map;
    size_t map_len;
};

struct xdp_queue {
    int fd;
    struct ring fill; /* frames for the kernel to put questions in */
    struct ring rx;   /* frames with questions */
    struct ring tx;   /* frames with replies */
    struct ring done; /* frames that were sent */
    uint8_t *frames;
    unsigned n_batches;
    const struct xdp *of;
};

struct xdp {
    struct xdpfilter filter;
    bool in_driver;
    struct addr *listens;
    size_t n_listens;
    size_t n_queues;
    struct xdp_queue queues[];
};

static uint32_t load(const uint32_t *p)
{
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static void store(uint32_t *p, uint32_t v)
{
    __atomic_store_n(p, v, __ATOMIC_RELEASE);
}

static uint64_t *frame_at(const struct ring *r, uint32_t i)
{
    return (uint64_t *)r->entries + i % FRAMES;
}

static struct xdp_desc *packet_at(const struct ring *r, uint32_t i)
{
    return (struct xdp_desc *)r->entries + i % FRAMES;
}

static enum err fail(struct err_info *info, const char *what)
{
    const char *help = "";
    if (errno == EPERM)
        help = ": it takes CAP_NET_RAW at the start";
    else if (errno == ENOBUFS)
        help = ": it takes 8 MiB of locked memory (LimitMEMLOCK=, ulimit -l) for each queue";
    else if (errno == EBUSY)
        help = ": another program has it";
    return err_set(info, ERR_IO, "%s: %s%s", what, strerror(errno), help);
}

static bool map_ring(struct ring *r, int fd, const struct xdp_ring_offset *off, size_t entry_len,
                     off_t which)
{
    r->map_len = off->desc + FRAMES * entry_len;
    r->map = mmap(NULL, r->map_len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, which);
    if (r->map == MAP_FAILED) {
        r->map = NULL;
        return false;
    }
    uint8_t *base = r->map;
    r->producer = (uint32_t *)(void *)(base + off->producer);
    r->consumer = (uint32_t *)(void *)(base + off->consumer);
    r->entries = base + off->desc;
    return true;
}

static bool set_ring(int fd, int option)
{
    const int n = FRAMES;
    return setsockopt(fd, SOL_XDP, option, &n, sizeof n) == 0;
}

static bool make_rings(struct xdp_queue *q)
{
    struct xdp_mmap_offsets off;
    socklen_t len = sizeof off;
    return set_ring(q->fd, XDP_UMEM_FILL_RING) && set_ring(q->fd, XDP_UMEM_COMPLETION_RING) &&
           set_ring(q->fd, XDP_RX_RING) && set_ring(q->fd, XDP_TX_RING) &&
           getsockopt(q->fd, SOL_XDP, XDP_MMAP_OFFSETS, &off, &len) == 0 &&
           map_ring(&q->fill, q->fd, &off.fr, sizeof(uint64_t), XDP_UMEM_PGOFF_FILL_RING) &&
           map_ring(&q->done, q->fd, &off.cr, sizeof(uint64_t), XDP_UMEM_PGOFF_COMPLETION_RING) &&
           map_ring(&q->rx, q->fd, &off.rx, sizeof(struct xdp_desc), XDP_PGOFF_RX_RING) &&
           map_ring(&q->tx, q->fd, &off.tx, sizeof(struct xdp_desc), XDP_PGOFF_TX_RING);
}

static bool share_frames(struct xdp_queue *q)
{
    void *frames = mmap(NULL, (size_t)FRAMES * FRAME_LEN, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (frames == MAP_FAILED)
        return false;
    q->frames = frames;
    const struct xdp_umem_reg reg = { .addr = (uint64_t)(uintptr_t)frames,
                                      .len = (uint64_t)FRAMES * FRAME_LEN,
                                      .chunk_size = FRAME_LEN };
    return setsockopt(q->fd, SOL_XDP, XDP_UMEM_REG, &reg, sizeof reg) == 0;
}

static enum err queue_open(struct xdp_queue *q, unsigned index, unsigned number,
                           const struct xdpfilter *filter, struct err_info *info)
{
    const struct sockaddr_xdp where = { .sxdp_family = AF_XDP,
                                        .sxdp_ifindex = index,
                                        .sxdp_queue_id = number };
    q->fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (q->fd < 0)
        return fail(info, "cannot make a socket of AF_XDP");
    if (!share_frames(q) || !make_rings(q))
        return fail(info, "cannot set up a socket of AF_XDP");
    for (uint32_t i = 0; i < FRAMES; i++)
        *frame_at(&q->fill, i) = (uint64_t)i * FRAME_LEN;
    store(q->fill.producer, FRAMES);
    if (bind(q->fd, (const struct sockaddr *)&where, sizeof where) != 0)
        return fail(info, "cannot bind a socket to the queue");
    return xdpfilter_set(filter, number, q->fd, info);
}

static void ring_unmap(struct ring *r)
{
    if (r->map != NULL)
        (void)munmap(r->map, r->map_len);
}

static void queue_close(struct xdp_queue *q)
{
    if (q->fd >= 0)
        close(q->fd);
    ring_unmap(&q->fill);
    ring_unmap(&q->rx);
    ring_unmap(&q->tx);
    ring_unmap(&q->done);
    if (q->frames != NULL)
        (void)munmap(q->frames, (size_t)FRAMES * FRAME_LEN);
}

/* What the kernel says of the interface `name`. */
struct interface {
    unsigned index, n_queues;
    uint8_t mac[6];
};

static enum err look_at(struct interface *out, const char *name, struct err_info *info)
{
    struct ifreq r;
    struct ethtool_channels channels = { .cmd = ETHTOOL_GCHANNELS };
    memset(&r, 0, sizeof r);
    (void)memccpy(r.ifr_name, name, 0, sizeof r.ifr_name - 1);
    out->index = if_nametoindex(name);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    enum err e = ERR_OK;
    if (out->index == 0 || fd < 0 || ioctl(fd, SIOCGIFHWADDR, &r) != 0)
        e = err_set(info, ERR_IO, "%s; `ip link` lists the interfaces", strerror(errno));
    else if (r.ifr_hwaddr.sa_family != ARPHRD_ETHER)
        e = err_set(info, ERR_IO, "this is no Ethernet interface");
    else
        memcpy(out->mac, r.ifr_hwaddr.sa_data, sizeof out->mac);
    if (e == ERR_OK && ioctl(fd, SIOCGIFMTU, &r) == 0 &&
        r.ifr_mtu > FRAME_LEN - HEADROOM - FRAME_HEAD_MAX)
        e = err_set(info, ERR_IO, "its MTU of %d is more than %d: lower it", r.ifr_mtu,
                    FRAME_LEN - HEADROOM - FRAME_HEAD_MAX);
    r.ifr_data = (void *)&channels;
    out->n_queues = 1;
    if (e == ERR_OK && ioctl(fd, SIOCETHTOOL, &r) == 0)
        out->n_queues = channels.combined_count + channels.rx_count;
    if (out->n_queues < 1 || out->n_queues > QUEUES_MAX)
        e = err_set(info, ERR_IO, "it has %u receive queues: `ethtool -L` makes them 1 to %d",
                    out->n_queues, QUEUES_MAX);
    if (fd >= 0)
        close(fd);
    return e;
}

static bool is_every_address(const struct addr *a)
{
    static const uint8_t ZEROS[16];
    struct span ip = addr_ip((const struct sockaddr *)&a->ss);
    return memcmp(ip.p, ZEROS, ip.len) == 0;
}

static uint16_t port_of(const struct addr *a)
{
    return ((const struct sockaddr_in *)&a->ss)->sin_port; /* at the same place in both families */
}

static bool is_loopback(struct span ip)
{
    static const uint8_t V6[16] = { [15] = 1 };
    return ip.len == 4 ? ip.p[0] == 127 : memcmp(ip.p, V6, sizeof V6) == 0;
}

/* Adds the machine's addresses of the family of `every`, with its port. */
static size_t add_own(struct addr *ends, size_t n, const struct addr *every)
{
    struct ifaddrs *all = NULL;
    if (getifaddrs(&all) != 0)
        return n;
    for (const struct ifaddrs *i = all; i != NULL && n < XDPFILTER_ENDS_MAX; i = i->ifa_next) {
        if (i->ifa_addr == NULL || i->ifa_addr->sa_family != every->ss.ss_family)
            continue;
        struct span ip = addr_ip(i->ifa_addr);
        if ((i->ifa_flags & IFF_LOOPBACK) != 0 && is_loopback(ip))
            continue; /* no frame from the network may be for these */
        struct addr *a = &ends[n++];
        *a = *every;
        memcpy((uint8_t *)(uintptr_t)addr_ip((struct sockaddr *)&a->ss).p, ip.p, ip.len);
    }
    freeifaddrs(all);
    return n;
}

static size_t find_ends(struct addr *ends, const struct xdp_listens *l)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n && n < XDPFILTER_ENDS_MAX; i++) {
        if (is_loopback(addr_ip((const struct sockaddr *)&l->at[i].ss)))
            continue;
        if (is_every_address(&l->at[i]))
            n = add_own(ends, n, &l->at[i]);
        else
            ends[n++] = l->at[i];
    }
    return n;
}

/* The kernel counts the frames as locked memory, of which most may have little. */
static void raise_memory_limit(void)
{
    struct rlimit r = { RLIM_INFINITY, RLIM_INFINITY };
    (void)setrlimit(RLIMIT_MEMLOCK, &r);
}

enum err xdp_open(struct xdp **out, const char *name, const struct xdp_listens *listens,
                  struct err_info *info)
{
    struct interface i;
    enum err e = look_at(&i, name, info);
    if (e != ERR_OK)
        return e;
    struct addr *ends = calloc(XDPFILTER_ENDS_MAX, sizeof *ends);
    struct xdp *x = calloc(1, sizeof *x + i.n_queues * sizeof x->queues[0]);
    if (x != NULL)
        x->listens = calloc(listens->n, sizeof *x->listens);
    if (ends == NULL || x == NULL || x->listens == NULL) {
        free(ends);
        if (x != NULL)
            free(x->listens);
        free(x);
        return err_set(info, ERR_NOMEM, "out of memory");
    }
    memcpy(x->listens, listens->at, listens->n * sizeof *x->listens);
    x->n_listens = listens->n;
    raise_memory_limit();
    e = xdpfilter_open(&x->filter, i.index, i.mac, i.n_queues, ends, find_ends(ends, listens),
                       &x->in_driver, info);
    free(ends);
    if (e != ERR_OK) {
        free(x->listens);
        free(x);
        return e;
    }
    for (; x->n_queues < i.n_queues && e == ERR_OK; x->n_queues++) {
        x->queues[x->n_queues].of = x;
        e = queue_open(&x->queues[x->n_queues], i.index, (unsigned)x->n_queues, &x->filter, info);
    }
    if (e == ERR_OK)
        *out = x;
    else
        xdp_close(x);
    return e;
}

void xdp_close(struct xdp *x)
{
    if (x == NULL)
        return;
    xdpfilter_close(&x->filter);
    for (size_t i = 0; i < x->n_queues; i++)
        queue_close(&x->queues[i]);
    free(x->listens);
    free(x);
}

size_t xdp_n_queues(const struct xdp *x)
{
    return x->n_queues;
}

struct xdp_queue *xdp_queue_of(struct xdp *x, size_t i)
{
    return &x->queues[i];
}

bool xdp_in_driver(const struct xdp *x)
{
    return x->in_driver;
}

int xdp_fd(const struct xdp_queue *q)
{
    return q->fd;
}

/* A question that has to wait, and the frame it is in. */
struct waiting {
    const struct xdp *xdp;
    struct reader *reader;
    const int *fds;
    const uint8_t *bytes;
    const struct frame *frame;
};

static void put_address(struct sockaddr_storage *out, socklen_t *len, const struct frame *f,
                        const uint8_t *ip, uint16_t port)
{
    memset(out, 0, sizeof *out);
    if (f->v6) {
        struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)out;
        sin6->sin6_family = AF_INET6;
        sin6->sin6_port = htons(port);
        memcpy(&sin6->sin6_addr, ip, sizeof sin6->sin6_addr);
        *len = sizeof *sin6;
    } else {
        struct sockaddr_in *sin = (struct sockaddr_in *)out;
        sin->sin_family = AF_INET;
        sin->sin_port = htons(port);
        memcpy(&sin->sin_addr, ip, sizeof sin->sin_addr);
        *len = sizeof *sin;
    }
}

/* The control data that has a socket for every address reply from `ip`. */
static size_t put_source(uint8_t control[READER_CONTROL_LEN], const struct frame *f,
                         const uint8_t *ip)
{
    struct msghdr h = { .msg_control = control, .msg_controllen = READER_CONTROL_LEN };
    struct cmsghdr *c = CMSG_FIRSTHDR(&h);
    struct in_pktinfo v4 = { 0 };
    struct in6_pktinfo v6 = { .ipi6_ifindex = 0 };
    size_t len = f->v6 ? sizeof v6 : sizeof v4;
    memcpy(f->v6 ? (void *)&v6.ipi6_addr : (void *)&v4.ipi_spec_dst, ip, f->dest - f->source);
    c->cmsg_level = f->v6 ? IPPROTO_IPV6 : IPPROTO_IP;
    c->cmsg_type = f->v6 ? IPV6_PKTINFO : IP_PKTINFO;
    c->cmsg_len = CMSG_LEN(len);
    memcpy(CMSG_DATA(c), f->v6 ? (const void *)&v6 : (const void *)&v4, len);
    return CMSG_SPACE(len);
}

/* The reply comes by the ordinary socket of the address. */
static bool defer(void *arg, const struct query_challenge *c)
{
    const struct waiting *w = arg;
    const struct frame *f = w->frame;
    struct reader_return ret = { .send = udp_send_later, .transport = TALLY_UDP, .fd = -1 };
    const uint8_t *dest = w->bytes + f->dest;
    for (size_t i = 0; i < w->xdp->n_listens && ret.fd < 0; i++) {
        const struct addr *a = &w->xdp->listens[i];
        struct span ip = addr_ip((const struct sockaddr *)&a->ss);
        if (ip.len != f->dest - f->source || ntohs(port_of(a)) != f->dest_port)
            continue;
        bool every = is_every_address(a);
        if (every || memcmp(ip.p, dest, ip.len) == 0)
            ret.fd = w->fds[i];
        if (every)
            ret.control_len = put_source(ret.control, f, dest);
    }
    put_address(&ret.peer, &ret.peer_len, f, w->bytes + f->source, f->source_port);
    return ret.fd >= 0 && reader_submit(w->reader, c, &ret);
}

/* Answers the question in a frame of `len` bytes. Returns the length of the frame with the reply, 0
 * for none. */
static size_t answer(struct waiting *w, uint8_t *bytes, size_t len, size_t cap,
                     struct query_ctx *ctx, struct tally *tally)
{
    struct frame f;
    if (!frame_read(&f, (struct span){ bytes, len })) {
        metric_add(&tally->unanswered, 1);
        return 0;
    }
    w->bytes = bytes;
    w->frame = &f;
    uint8_t *data = bytes + f.data;
    const struct peer peer = { .ip = { bytes + f.source, f.dest - f.source } };
    size_t n = datagram_answer(ctx, tally, data, cap - f.data, (struct span){ data, f.data_len },
                               &peer, defer, w);
    return n > 0 ? frame_turn(&f, bytes, n) : 0;
}

/* Gives the kernel the frames back that it has sent. */
static void reuse_sent(struct xdp_queue *q)
{
    uint32_t at = *q->done.consumer, fill = *q->fill.producer;
    uint32_t n = load(q->done.producer) - at;
    for (uint32_t i = 0; i < n; i++)
        *frame_at(&q->fill, fill + i) = *frame_at(&q->done, at + i) & ~(uint64_t)(FRAME_LEN - 1);
    store(q->done.consumer, at + n);
    store(q->fill.producer, fill + n);
}

/* Has the kernel send what is in the ring, of which it takes some at each call. What it has no room
 * for in time goes with the next replies. */
static void send_all(struct xdp_queue *q)
{
    uint32_t left, before = 0;
    for (int waited_ms = 0; (left = *q->tx.producer - load(q->tx.consumer)) != 0;) {
        if (left == before && waited_ms++ == SEND_WAIT_MS)
            return;
        if (left == before)
            (void)poll(NULL, 0, 1);
        before = left;
        (void)sendto(q->fd, NULL, 0, MSG_DONTWAIT, NULL, 0);
    }
}

unsigned xdp_serve(struct xdp_queue *q, struct query_ctx *ctx, struct reader *reader,
                   const int *fds, struct tally *tally)
{
    ctx->now_s = clock_now_s();
    reuse_sent(q);
    uint32_t at = *q->rx.consumer, fill = *q->fill.producer, tx = *q->tx.producer;
    uint32_t n = load(q->rx.producer) - at;
    n = n < XDP_BATCH ? n : XDP_BATCH;
    struct waiting w = { .xdp = q->of, .reader = reader, .fds = fds };
    bool timed = n > 0 && ++q->n_batches % DATAGRAM_TIMED_EVERY == 0;
    int64_t began_us = timed ? clock_mono_us() : 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct xdp_desc in = *packet_at(&q->rx, at + i);
        size_t room = FRAME_LEN - (in.addr & (FRAME_LEN - 1));
        size_t len = answer(&w, q->frames + in.addr, in.len, room, ctx, tally);
        if (len > 0)
            *packet_at(&q->tx, tx++) = (struct xdp_desc){ .addr = in.addr, .len = (uint32_t)len };
        else
            *frame_at(&q->fill, fill++) = in.addr & ~(uint64_t)(FRAME_LEN - 1);
    }
    store(q->rx.consumer, at + n);
    store(q->fill.producer, fill);
    store(q->tx.producer, tx);
    send_all(q);
    if (timed)
        metric_observe(&tally->batch, clock_mono_us() - began_us);
    return n;
}

bool xdp_has_ended(const struct xdp_queue *q)
{
    int error = 0;
    socklen_t len = sizeof error;
    return getsockopt(q->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error == ENETDOWN ||
           error == ENODEV;
}

uint64_t xdp_dropped(const struct xdp *x)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < x->n_queues; i++) {
        struct xdp_statistics s = { 0 };
        socklen_t len = sizeof s;
        if (getsockopt(x->queues[i].fd, SOL_XDP, XDP_STATISTICS, &s, &len) == 0)
            sum += s.rx_dropped + s.rx_ring_full;
    }
    return sum;
}
