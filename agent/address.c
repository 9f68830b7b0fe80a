#include "agent/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/interfaces.h"

#define HTTPS_PORT 443

static bool from_sockaddr(struct ip *out, const struct sockaddr *sa)
{
    *out = (struct ip){ 0 };
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in sin;
        memcpy(&sin, sa, sizeof sin);
        out->family = 4;
        memcpy(out->bytes, &sin.sin_addr, 4);
        return true;
    }
    if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 sin6;
        memcpy(&sin6, sa, sizeof sin6);
        out->family = 6;
        memcpy(out->bytes, &sin6.sin6_addr, 16);
        return true;
    }
    return false;
}

static bool equal(const struct ip *a, const struct ip *b)
{
    return a->family == b->family && memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

static size_t add_pick(struct worth_pick *list, size_t n, size_t cap, const struct ip *ip)
{
    for (size_t i = 0; i < n; i++) {
        if (equal(&list[i].ip, ip))
            return n;
    }
    if (n < cap)
        list[n++] = (struct worth_pick){ worth_kind_of(ip), *ip };
    return n;
}

size_t address_worth(const struct config *c, struct worth_pick *out, size_t cap)
{
    struct worth_address all[INTERFACES_MAX];
    struct worth_pick own[ADDRESS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < c->n_addresses; i++) {
        struct ip ip = { .family = 4 };
        if (inet_pton(AF_INET, c->addresses[i], ip.bytes) != 1) {
            ip.family = 6;
            (void)inet_pton(AF_INET6, c->addresses[i], ip.bytes);
        }
        n = add_pick(out, n, cap, &ip);
    }
    if (!c->addresses_auto)
        return n;
    size_t n_own =
        worth_select(all, interfaces_list(all, INTERFACES_MAX), c->vpn_addresses, own, ADDRESS_MAX);
    for (size_t i = 0; i < n_own; i++)
        n = add_pick(out, n, cap, &own[i].ip);
    return n;
}

size_t address_list(const struct config *c, struct ip out[ADDRESS_MAX])
{
    struct worth_pick all[ADDRESS_MAX];
    size_t n_all = address_worth(c, all, ADDRESS_MAX), n = 0;
    for (size_t i = 0; i < n_all; i++) {
        if (i < c->n_addresses || all[i].kind != WORTH_GUA)
            out[n++] = all[i].ip;
    }
    return n;
}

bool address_serves(const struct addr *listen, const struct ip *ip)
{
    static const struct ip ANY4 = { .family = 4 }, ANY6 = { .family = 6 };
    struct ip bound;
    if (!from_sockaddr(&bound, (const struct sockaddr *)&listen->ss))
        return false;
    return equal(&bound, ip) || equal(&bound, ip->family == 4 ? &ANY4 : &ANY6);
}

unsigned address_port(const struct addr *listen)
{
    struct sockaddr_in sin; /* the port is at the same place in both families */
    memcpy(&sin, &listen->ss, sizeof sin);
    return ntohs(sin.sin_port);
}

static void add_url(const char *label, const char *id, const char *zone, unsigned port,
                    json_t *urls)
{
    char url[512], suffix[8] = "";
    if (port != HTTPS_PORT)
        (void)snprintf(suffix, sizeof suffix, ":%u", port & 0xffff);
    (void)snprintf(url, sizeof url, "https://%s.%s.%s%s/", label, id, zone, suffix);
    (void)json_array_append_new(urls, json_string(url));
}

uint16_t address_url_port(const char *url)
{
    const char *colon = strrchr(url, ':');
    return colon == NULL || colon[1] == '/' ? HTTPS_PORT : (uint16_t)strtoul(colon + 1, NULL, 10);
}

/* What goes to ourselves comes from where it goes to. To bind there says nothing where
 * net.ipv4.ip_nonlocal_bind is set. */
bool address_is_own(const struct ip *ip)
{
    struct sockaddr_storage ss = { .ss_family = ip->family == 4 ? AF_INET : AF_INET6 };
    socklen_t len = ip->family == 4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    if (ip->family == 4) {
        memcpy(&((struct sockaddr_in *)&ss)->sin_addr, ip->bytes, 4);
        ((struct sockaddr_in *)&ss)->sin_port = htons(HTTPS_PORT);
    } else {
        memcpy(&((struct sockaddr_in6 *)&ss)->sin6_addr, ip->bytes, 16);
        ((struct sockaddr_in6 *)&ss)->sin6_port = htons(HTTPS_PORT);
    }
    int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0); /* connecting it sends nothing */
    bool own = fd >= 0 && connect(fd, (struct sockaddr *)&ss, len) == 0 &&
               getsockname(fd, (struct sockaddr *)&ss, &len) == 0;
    if (fd >= 0)
        close(fd);
    struct span from = addr_ip((struct sockaddr *)&ss);
    return own && memcmp(from.p, ip->bytes, from.len) == 0;
}

static void add_label(const struct config *c, const char *id, const struct ip *ip,
                      const char *label, json_t *urls)
{
    if (c->n_proxies == 0)
        add_url(label, id, c->zone, HTTPS_PORT, urls);
    for (size_t k = 0; k < c->n_proxies; k++) {
        if (address_serves(&c->proxies[k].listen, ip))
            add_url(label, id, c->zone, address_port(&c->proxies[k].listen), urls);
    }
}

void address_add_urls(const struct config *c, const char *id, const struct reported *reported,
                      json_t *urls)
{
    struct worth_pick picks[ADDRESS_MAX];
    size_t n = address_worth(c, picks, ADDRESS_MAX);
    for (size_t i = 0; i < n; i++) {
        char label[IPLABEL_TEXT_MAX];
        iplabel_encode(&picks[i].ip, label);
        if (picks[i].kind != WORTH_GUA)
            add_label(c, id, &picks[i].ip, label, urls);
    }
    for (size_t i = 0; i < n && reported != NULL; i++) {
        const char *label = reported_label(reported, &picks[i].ip);
        if (picks[i].kind == WORTH_GUA && label != NULL)
            add_label(c, id, &picks[i].ip, label, urls);
    }
}
