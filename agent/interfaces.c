#include "agent/interfaces.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include "common/base/attr.h"

#define LINKS_MAX 256
#define MESSAGE_MAX 32768 /* bytes; the kernel's dumps are made to fit into less */
#define ANSWER_S 2

/* Addresses far away, one a family: the kernel is asked for the way there, and nothing is sent. */
static const struct ip FAR4 = { 4, { 1, 1, 1, 1 } };
static const struct ip FAR6 = {
    6, { 0x26, 0x06, 0x47, 0, 0x47, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x11, 0x11 }
};

struct interface {
    unsigned index, flags;
    char name[WORTH_LINK_MAX], kind[WORTH_LINK_MAX];
};

/* One conversation with the kernel. */
struct survey {
    int fd;
    struct interface links[LINKS_MAX];
    size_t n_links;
    struct worth_address *out;
    size_t n_out, cap;
    struct interfaces_way way;
};

/* ---- messages -------------------------------------------------------------------------------- */

/* The attributes of one message, by their type; those above `max` are left out. */
static void read_attributes(const struct rtattr *at, size_t len, const struct rtattr **out,
                            unsigned max)
{
    memset(out, 0, (max + 1) * sizeof out[0]);
    while (len >= sizeof *at && at->rta_len >= sizeof *at && at->rta_len <= len) {
        unsigned type = at->rta_type & (uint16_t)NLA_TYPE_MASK;
        size_t step = RTA_ALIGN(at->rta_len);
        if (type <= max)
            out[type] = at;
        if (step >= len)
            break;
        len -= step;
        at = (const struct rtattr *)(const void *)((const char *)at + step);
    }
}

static const void *payload(const struct rtattr *at)
{
    return (const char *)at + RTA_LENGTH(0);
}

static size_t payload_len(const struct rtattr *at)
{
    return at->rta_len - RTA_LENGTH(0);
}

/* A word of the kernel's, cut to fit; "" when there is none. */
static void copy_word(char out[WORTH_LINK_MAX], const struct rtattr *at)
{
    size_t len = at != NULL ? payload_len(at) : 0;
    if (len > WORTH_LINK_MAX - 1)
        len = WORTH_LINK_MAX - 1;
    memset(out, 0, WORTH_LINK_MAX);
    if (len > 0)
        memcpy(out, payload(at), len);
}

static void take_link(struct survey *s, struct nlmsghdr *h)
{
    const struct ifinfomsg *m = NLMSG_DATA(h);
    const struct rtattr *at[IFLA_LINKINFO + 1], *info[IFLA_INFO_KIND + 1] = { NULL };
    if (h->nlmsg_len < NLMSG_LENGTH(sizeof *m) || s->n_links == LINKS_MAX)
        return;
    read_attributes((const struct rtattr *)(const void *)((const char *)m + NLMSG_ALIGN(sizeof *m)),
                    h->nlmsg_len - NLMSG_LENGTH(sizeof *m), at, IFLA_LINKINFO);
    if (at[IFLA_LINKINFO] != NULL)
        read_attributes(payload(at[IFLA_LINKINFO]), payload_len(at[IFLA_LINKINFO]), info,
                        IFLA_INFO_KIND);
    struct interface *l = &s->links[s->n_links++];
    l->index = (unsigned)m->ifi_index;
    l->flags = m->ifi_flags;
    copy_word(l->name, at[IFLA_IFNAME]);
    copy_word(l->kind, info[IFLA_INFO_KIND]);
}

static const struct interface *find_link(const struct survey *s, unsigned index)
{
    for (size_t i = 0; i < s->n_links; i++) {
        if (s->links[i].index == index)
            return &s->links[i];
    }
    return NULL;
}

static bool copy_ip(struct ip *out, unsigned family, const struct rtattr *at)
{
    size_t len = family == AF_INET ? 4 : 16;
    if (at == NULL || (family != AF_INET && family != AF_INET6) || payload_len(at) != len)
        return false;
    *out = (struct ip){ .family = family == AF_INET ? 4 : 6 };
    memcpy(out->bytes, payload(at), len);
    return true;
}

static void take_address(struct survey *s, struct nlmsghdr *h)
{
    const struct ifaddrmsg *m = NLMSG_DATA(h);
    const struct rtattr *at[IFA_FLAGS + 1];
    struct ip ip;
    if (h->nlmsg_len < NLMSG_LENGTH(sizeof *m) || s->n_out == s->cap)
        return;
    read_attributes((const struct rtattr *)(const void *)((const char *)m + NLMSG_ALIGN(sizeof *m)),
                    h->nlmsg_len - NLMSG_LENGTH(sizeof *m), at, IFA_FLAGS);
    /* IFA_ADDRESS is the other end of a point-to-point link */
    const struct interface *l = find_link(s, m->ifa_index);
    const struct rtattr *own = at[IFA_LOCAL] != NULL ? at[IFA_LOCAL] : at[IFA_ADDRESS];
    if (l == NULL || !copy_ip(&ip, m->ifa_family, own))
        return;
    uint32_t flags = m->ifa_flags;
    if (at[IFA_FLAGS] != NULL && payload_len(at[IFA_FLAGS]) == sizeof flags)
        memcpy(&flags, payload(at[IFA_FLAGS]), sizeof flags);
    struct worth_address *a = &s->out[s->n_out++];
    *a = (struct worth_address){
        .ip = ip,
        .prefix_bits = m->ifa_prefixlen,
        .link = m->ifa_index,
        .up = (l->flags & IFF_UP) != 0,
        .running = (l->flags & IFF_RUNNING) != 0,
        .loopback = (l->flags & IFF_LOOPBACK) != 0,
        .point_to_point = (l->flags & IFF_POINTOPOINT) != 0,
        /* of an IPv4 address the same bit means a second one in a subnet */
        .temporary = ip.family == 6 && (flags & IFA_F_TEMPORARY) != 0,
        .deprecated = (flags & IFA_F_DEPRECATED) != 0,
        .tentative = (flags & IFA_F_DADFAILED) != 0 ||
                     (flags & (IFA_F_TENTATIVE | IFA_F_OPTIMISTIC)) == IFA_F_TENTATIVE,
    };
    memcpy(a->link_name, l->name, sizeof a->link_name);
    memcpy(a->link_kind, l->kind, sizeof a->link_kind);
}

static void take_route(struct survey *s, struct nlmsghdr *h)
{
    const struct rtmsg *m = NLMSG_DATA(h);
    const struct rtattr *at[RTA_PREFSRC + 1];
    if (h->nlmsg_len < NLMSG_LENGTH(sizeof *m))
        return;
    read_attributes((const struct rtattr *)(const void *)((const char *)m + NLMSG_ALIGN(sizeof *m)),
                    h->nlmsg_len - NLMSG_LENGTH(sizeof *m), at, RTA_PREFSRC);
    if (m->rtm_type != RTN_UNICAST || at[RTA_OIF] == NULL ||
        payload_len(at[RTA_OIF]) != sizeof s->way.link)
        return;
    memcpy(&s->way.link, payload(at[RTA_OIF]), sizeof s->way.link);
    (void)copy_ip(&s->way.gateway, m->rtm_family, at[RTA_GATEWAY]);
    (void)copy_ip(&s->way.own, m->rtm_family, at[RTA_PREFSRC]);
}

/* ---- the conversation ------------------------------------------------------------------------ */

static bool open_survey(struct survey *s)
{
    static const struct timeval LIMIT = { .tv_sec = ANSWER_S };
    s->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    return s->fd >= 0 && setsockopt(s->fd, SOL_SOCKET, SO_RCVTIMEO, &LIMIT, sizeof LIMIT) == 0;
}

/* Hands each message of the answer to its taker. False when more is to come. */
static bool take_messages(struct survey *s, char *bytes, size_t len)
{
    struct nlmsghdr *h = (struct nlmsghdr *)(void *)bytes;
    for (; NLMSG_OK(h, len); h = NLMSG_NEXT(h, len)) {
        if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR)
            return true;
        if (h->nlmsg_type == RTM_NEWLINK)
            take_link(s, h);
        else if (h->nlmsg_type == RTM_NEWADDR)
            take_address(s, h);
        else if (h->nlmsg_type == RTM_NEWROUTE)
            take_route(s, h);
        if ((h->nlmsg_flags & NLM_F_MULTI) == 0)
            return true;
    }
    return false;
}

static void ask(struct survey *s, struct nlmsghdr *request)
{
    _Alignas(struct nlmsghdr) char bytes[MESSAGE_MAX];
    if (send(s->fd, request, request->nlmsg_len, 0) != (ssize_t)request->nlmsg_len)
        return;
    for (;;) {
        ssize_t n = recv(s->fd, bytes, sizeof bytes, 0);
        if (n <= 0 || take_messages(s, bytes, (size_t)n))
            return;
    }
}

static void ask_all(struct survey *s, unsigned short type)
{
    struct {
        struct nlmsghdr h;
        struct ifinfomsg m; /* the longest of their headers, all zero: every family */
    } request = { .h = { .nlmsg_len = sizeof request,
                         .nlmsg_type = type,
                         .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP } };
    ask(s, &request.h);
}

static void ask_route(struct survey *s, const struct ip *to)
{
    unsigned short len = to->family == 4 ? 4 : 16;
    struct {
        struct nlmsghdr h;
        struct rtmsg m;
        struct rtattr at;
        uint8_t to[16];
    } request = { .h = { .nlmsg_type = RTM_GETROUTE, .nlmsg_flags = NLM_F_REQUEST },
                  .m = { .rtm_family = to->family == 4 ? AF_INET : AF_INET6,
                         .rtm_dst_len = (unsigned char)(len * 8) },
                  .at = { .rta_len = (unsigned short)RTA_LENGTH(len), .rta_type = RTA_DST } };
    request.h.nlmsg_len = (uint32_t)(NLMSG_LENGTH(sizeof request.m) + RTA_LENGTH(len));
    memcpy(request.to, to->bytes, len);
    s->way = (struct interfaces_way){ 0 };
    ask(s, &request.h);
}

static void mark_default(struct survey *s, const struct ip *far)
{
    ask_route(s, far);
    for (size_t i = 0; i < s->n_out; i++) {
        if (s->out[i].link == s->way.link && s->out[i].ip.family == far->family)
            s->out[i].default_route = true;
    }
}

size_t interfaces_list(struct worth_address *out, size_t cap)
{
    struct survey s = { .out = out, .cap = cap };
    if (open_survey(&s)) {
        ask_all(&s, RTM_GETLINK);
        ask_all(&s, RTM_GETADDR);
        mark_default(&s, &FAR4);
        mark_default(&s, &FAR6);
    }
    if (s.fd >= 0)
        close(s.fd);
    return s.n_out;
}

struct interfaces_way interfaces_way_out(unsigned family)
{
    struct survey s = { 0 };
    if (open_survey(&s))
        ask_route(&s, family == 4 ? &FAR4 : &FAR6);
    if (s.fd >= 0)
        close(s.fd);
    return s.way;
}

bool interfaces_gateway(struct in_addr *gateway, struct in_addr *own)
{
    struct interfaces_way way = interfaces_way_out(4);
    if (way.gateway.family != 4 || way.own.family != 4)
        return false;
    memcpy(gateway, way.gateway.bytes, sizeof *gateway);
    memcpy(own, way.own.bytes, sizeof *own);
    return gateway->s_addr != 0 && own->s_addr != 0;
}
