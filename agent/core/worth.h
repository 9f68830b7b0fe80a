/* worth.h - which addresses of this device are worth telling others, and in which order. Pure; any
 * thread. */
#ifndef LANYARD_AGENT_CORE_WORTH_H
#define LANYARD_AGENT_CORE_WORTH_H

#include <stdbool.h>
#include <stddef.h>

#include "common/dns/iplabel.h"

#define WORTH_LINK_MAX 16 /* bytes of an interface's name, and of its kind, with the NUL */
#define WORTH_TEXT_MAX 48 /* bytes of an address, with the NUL */

/* One address of an interface, as the kernel tells it. */
struct worth_address {
    struct ip ip;
    unsigned prefix_bits;           /* of its subnet; 32 or 128: it is alone */
    unsigned link;                  /* number of the interface */
    char link_name[WORTH_LINK_MAX]; /* "eth0" */
    char link_kind[WORTH_LINK_MAX]; /* "" for hardware; "bridge", "veth", "wireguard", ... */
    bool up, running;               /* running: the cable is in */
    bool loopback, point_to_point;
    bool default_route; /* the way to the Internet goes through this interface */
    bool temporary;     /* changes by itself for the sake of privacy [RFC 8981] */
    bool deprecated;    /* on its way out [RFC 4862 s5.5.4] */
    bool tentative;     /* perhaps somebody else's: not, or not well, checked yet */
};

/* Why an address is not worth telling; WORTH_YES when it is. */
enum worth {
    WORTH_YES = 0,
    WORTH_NO_DOWN,
    WORTH_NO_LOOPBACK,
    WORTH_NO_FORBIDDEN, /* link-local IPv6, multicast, ...: no name can mean it */
    WORTH_NO_LINK_LOCAL,
    WORTH_NO_TENTATIVE,
    WORTH_NO_DEPRECATED,
    WORTH_NO_TEMPORARY,
    WORTH_NO_CONTAINER,
    WORTH_NO_VPN,
    WORTH_N
};

/* Best first. A public IPv4 address on an interface is global as well: WORTH_GUA. */
enum worth_kind { WORTH_GUA, WORTH_LAN, WORTH_ULA, WORTH_KIND_N };

struct worth_pick {
    enum worth_kind kind;
    struct ip ip;
};

enum worth worth_judge(const struct worth_address *a, bool with_vpn);

/* The sentence's end for a person, such as "is for containers". */
const char *worth_text(enum worth w);

/* "gua", "lan" or "ula". */
const char *worth_kind_name(enum worth_kind k);

enum worth_kind worth_kind_of(const struct ip *ip);

/* Writes up to `cap` of the `n` addresses to `out`, each once and the best first, and returns how
 * many: those of the interface that leads to the Internet before others, IPv6 before IPv4 among the
 * global ones, what a carrier or a VPN gave last. The order of `list` does not matter. `with_vpn`:
 * VPN addresses are worth it, too. */
size_t worth_select(const struct worth_address *list, size_t n, bool with_vpn,
                    struct worth_pick *out, size_t cap);

/* "192.168.1.5" or RFC 5952 text. */
void worth_format(const struct ip *ip, char out[WORTH_TEXT_MAX]);

#endif
