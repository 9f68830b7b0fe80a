#include "agent/resolvers.h"

#include <dirent.h>
#include <limits.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "agent/core/lease.h"
#include "agent/interfaces.h"
#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/file.h"

#define SYSTEM_FILE "/etc/resolv.conf"
#define UPSTREAM_FILE "/run/systemd/resolve/resolv.conf"
#define FILE_MAX (64 * 1024)
#define FILES_MAX 16 /* of a folder; a host of containers may have more */
#define DNS_PORT 53

/* What keeps the word of the network, by DHCP or router advertisements, beside resolv.conf. */
static const struct {
    const char *folder, *prefix;
    enum lease_form form;
} LEASES[] = {
    { "/run/systemd/netif/leases", "", LEASE_NETWORKD },
    { "/run/systemd/netif/links", "", LEASE_NETWORKD },
    { "/run/NetworkManager", "no-stub-resolv.conf", LEASE_RESOLVCONF },
    { "/run/dhcpcd/hook-state/resolv.conf", "", LEASE_RESOLVCONF },
    { "/var/lib/dhcp", "dhclient", LEASE_DHCLIENT },
};

static const struct ip STUB = { 4, { 127, 0, 0, 53 } };

static bool same_server(const struct addr *a, const struct addr *b)
{
    char x[ADDR_TEXT_MAX], y[ADDR_TEXT_MAX];
    addr_format(a, x);
    addr_format(b, y);
    return strcmp(x, y) == 0;
}

static size_t add(struct resolver *list, size_t n, const struct addr *addr,
                  enum verdict_source source)
{
    for (size_t i = 0; i < n; i++) {
        if (same_server(&list[i].addr, addr))
            return n;
    }
    if (n < VERDICT_RESOLVERS_MAX)
        list[n++] = (struct resolver){ *addr, source };
    return n;
}

static struct addr to_addr(const struct nameserver *ns)
{
    struct addr out = { .len = sizeof(struct sockaddr_in) };
    struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(DNS_PORT) };
    struct sockaddr_in6 sin6 = { .sin6_family = AF_INET6, .sin6_port = htons(DNS_PORT) };
    if (ns->ip.family == 4) {
        memcpy(&sin.sin_addr, ns->ip.bytes, sizeof sin.sin_addr);
        memcpy(&out.ss, &sin, sizeof sin);
        return out;
    }
    memcpy(&sin6.sin6_addr, ns->ip.bytes, sizeof sin6.sin6_addr);
    sin6.sin6_scope_id = ns->interface[0] != 0 ? if_nametoindex(ns->interface) : 0;
    memcpy(&out.ss, &sin6, sizeof sin6);
    out.len = sizeof sin6;
    return out;
}

/* Adds the servers in the file at `path`; *stub tells whether systemd-resolved is one. */
static size_t add_file(struct resolver *list, size_t n, const char *path, enum lease_form form,
                       enum verdict_source source, bool *stub)
{
    struct nameserver found[RESOLVCONF_MAX];
    struct err_info ignored;
    struct buf text;
    size_t n_found = 0;
    buf_init(&text, FILE_MAX);
    if (file_read(path, &text, &ignored) == ERR_OK)
        n_found = lease_servers(found, form, buf_span(&text), clock_now_s());
    buf_clear(&text);
    for (size_t i = 0; i < n_found; i++) {
        struct addr addr = to_addr(&found[i]);
        *stub |= found[i].ip.family == 4 && memcmp(found[i].ip.bytes, STUB.bytes, 4) == 0;
        n = add(list, n, &addr, source);
    }
    return n;
}

static size_t add_leases(struct resolver *list, size_t n, size_t i)
{
    DIR *dir = opendir(LEASES[i].folder);
    const struct dirent *entry;
    bool ignored = false;
    char path[PATH_MAX];
    for (unsigned n_read = 0;
         dir != NULL && n_read < FILES_MAX && (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] == '.' ||
            strncmp(entry->d_name, LEASES[i].prefix, strlen(LEASES[i].prefix)) != 0)
            continue;
        n_read++;
        (void)snprintf(path, sizeof path, "%s/%s", LEASES[i].folder, entry->d_name);
        n = add_file(list, n, path, LEASES[i].form, SOURCE_NETWORK, &ignored);
    }
    if (dir != NULL)
        (void)closedir(dir);
    return n;
}

size_t resolvers_list(const struct config *c, struct resolver out[VERDICT_RESOLVERS_MAX])
{
    struct nameserver router = { .ip = { .family = 4 } };
    struct in_addr gateway, own;
    bool stub = false, ignored = false;
    size_t n = 0;
    for (size_t i = 0; i < c->n_resolvers; i++)
        n = add(out, n, &c->resolvers[i], SOURCE_CONFIGURED);
    if (!c->resolvers_auto)
        return n;
    n = add_file(out, n, SYSTEM_FILE, LEASE_RESOLVCONF, SOURCE_SYSTEM, &stub);
    if (stub)
        n = add_file(out, n, UPSTREAM_FILE, LEASE_RESOLVCONF, SOURCE_UPSTREAM, &ignored);
    if (interfaces_gateway(&gateway, &own)) {
        memcpy(router.ip.bytes, &gateway, sizeof gateway);
        struct addr addr = to_addr(&router);
        n = add(out, n, &addr, SOURCE_GATEWAY);
    }
    for (size_t i = 0; i < ARRAY_LEN(LEASES); i++)
        n = add_leases(out, n, i);
    return n;
}
