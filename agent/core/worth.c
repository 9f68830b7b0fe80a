#include "agent/core/worth.h"

#include <arpa/inet.h>
#include <string.h>

#include "common/base/attr.h"

static const char *const TEXTS[WORTH_N] = {
    [WORTH_YES] = "is told",
    [WORTH_NO_DOWN] = "is of an interface that is down",
    [WORTH_NO_LOOPBACK] = "is of this device only",
    [WORTH_NO_FORBIDDEN] = "can have no name",
    [WORTH_NO_LINK_LOCAL] = "is link-local: there was no DHCP server",
    [WORTH_NO_TENTATIVE] = "is being checked, or somebody else's",
    [WORTH_NO_DEPRECATED] = "is on its way out",
    [WORTH_NO_TEMPORARY] = "is temporary, for privacy",
    [WORTH_NO_CONTAINER] = "is for containers or virtual machines",
    [WORTH_NO_VPN] = "is of a VPN",
};

static const char *const KINDS[WORTH_KIND_N] = { "gua", "lan", "ula" };

const char *worth_text(enum worth w)
{
    return TEXTS[w];
}

const char *worth_kind_name(enum worth_kind k)
{
    return KINDS[k];
}

/* ---- interfaces ------------------------------------------------------------------------------ */

static bool begins(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool begins_with_any(const char *text, const char *const *prefixes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (begins(text, prefixes[i]))
            return true;
    }
    return false;
}

static bool is_any(const char *text, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(text, words[i]) == 0)
            return true;
    }
    return false;
}

/* Docker calls a network's bridge "br-" and 12 hexadecimal digits; a router's LAN is "br-lan". */
static bool is_docker_bridge(const char *name)
{
    return begins(name, "br-") && strlen(name) == 15 && strspn(name + 3, "0123456789abcdef") == 12;
}

/* A name decides: inside a container the way out is a veth, too, but it is called eth0. */
static bool is_container(const struct worth_address *a)
{
    static const char *const NAMES[] = {
        "docker",  "veth",    "virbr", "cni",     "podman",   "lxcbr", "lxdbr",
        "incusbr", "nerdctl", "cali",  "flannel", "cilium",   "weave", "kube",
        "hassio",  "vnet",    "vmnet", "vboxnet", "waydroid",
    };
    return begins_with_any(a->link_name, NAMES, ARRAY_LEN(NAMES)) ||
           is_docker_bridge(a->link_name) || strcmp(a->link_kind, "dummy") == 0;
}

/* A tunnel is one by its kind, whatever it is called; by its name where the kernel tells no kind.
 */
static bool is_vpn(const struct worth_address *a)
{
    static const char *const KIND[] = { "tun",    "wireguard", "ipip", "gre",  "ip6gre",
                                        "ip6tnl", "sit",       "vti",  "vti6", "xfrm",
                                        "ovpn",   "geneve",    "vxlan" };
    static const char *const NAMES[] = { "tun", "tap", "wg", "ppp", "utun", "tailscale", "zt" };
    return is_any(a->link_kind, KIND, ARRAY_LEN(KIND)) ||
           begins_with_any(a->link_name, NAMES, ARRAY_LEN(NAMES)) || a->point_to_point;
}

/* ---- addresses ------------------------------------------------------------------------------- */

static bool is_link_local4(const struct ip *ip)
{
    return ip->family == 4 && ip->bytes[0] == 169 && ip->bytes[1] == 254;
}

/* 100.64/10, between a carrier and its customers [RFC 6598]: nobody at home comes by it. */
static bool is_carrier(const struct ip *ip)
{
    return ip->family == 4 && ip->bytes[0] == 100 && (ip->bytes[1] & 0xc0) == 64;
}

enum worth_kind worth_kind_of(const struct ip *ip)
{
    if (ip_classify(ip) == IP_PUBLIC)
        return WORTH_GUA;
    return ip->family == 4 ? WORTH_LAN : WORTH_ULA;
}

enum worth worth_judge(const struct worth_address *a, bool with_vpn)
{
    enum ip_class c = ip_classify(&a->ip);
    if (!a->up)
        return WORTH_NO_DOWN;
    if (a->loopback || c == IP_LOOPBACK)
        return WORTH_NO_LOOPBACK;
    if (c == IP_FORBIDDEN)
        return WORTH_NO_FORBIDDEN;
    if (is_link_local4(&a->ip))
        return WORTH_NO_LINK_LOCAL;
    if (is_container(a))
        return WORTH_NO_CONTAINER;
    /* a router's own way to the Internet may be PPP: its global address is no VPN's */
    if (!with_vpn && is_vpn(a) && !(c == IP_PUBLIC && a->default_route))
        return WORTH_NO_VPN;
    if (a->tentative)
        return WORTH_NO_TENTATIVE;
    if (a->deprecated)
        return WORTH_NO_DEPRECATED;
    return a->temporary ? WORTH_NO_TEMPORARY : WORTH_YES;
}

/* ---- order ----------------------------------------------------------------------------------- */

/* The smaller, the better. */
static unsigned rank(const struct worth_address *a)
{
    enum worth_kind kind = worth_kind_of(&a->ip);
    unsigned r = (unsigned)kind;
    r = r * 2 + (is_vpn(a) || is_carrier(&a->ip));
    r = r * 2 + !a->running;
    r = r * 2 + !a->default_route;
    return r * 2 + (kind == WORTH_GUA && a->ip.family == 4);
}

static bool is_before(const struct worth_address *a, const struct worth_address *b)
{
    unsigned ra = rank(a), rb = rank(b);
    if (ra != rb)
        return ra < rb;
    if (a->link != b->link)
        return a->link < b->link;
    if (a->ip.family != b->ip.family)
        return a->ip.family < b->ip.family;
    return memcmp(a->ip.bytes, b->ip.bytes, sizeof a->ip.bytes) < 0;
}

static bool is_same(const struct ip *a, const struct ip *b)
{
    return a->family == b->family && memcmp(a->bytes, b->bytes, a->family == 4 ? 4 : 16) == 0;
}

static bool is_among(const struct worth_pick *list, size_t n, const struct ip *ip)
{
    for (size_t i = 0; i < n; i++) {
        if (is_same(&list[i].ip, ip))
            return true;
    }
    return false;
}

size_t worth_select(const struct worth_address *list, size_t n, bool with_vpn,
                    struct worth_pick *out, size_t cap)
{
    size_t n_out = 0;
    while (n_out < cap) {
        const struct worth_address *best = NULL;
        for (size_t i = 0; i < n; i++) {
            if (worth_judge(&list[i], with_vpn) == WORTH_YES &&
                !is_among(out, n_out, &list[i].ip) && (best == NULL || is_before(&list[i], best)))
                best = &list[i];
        }
        if (best == NULL)
            break;
        out[n_out++] = (struct worth_pick){ worth_kind_of(&best->ip), best->ip };
    }
    return n_out;
}

void worth_format(const struct ip *ip, char out[WORTH_TEXT_MAX])
{
    if (inet_ntop(ip->family == 4 ? AF_INET : AF_INET6, ip->bytes, out, WORTH_TEXT_MAX) == NULL)
        out[0] = 0;
}
