#include "agent/resolvers.h"

#include <net/if.h>
#include <stdbool.h>
#include <string.h>

#include "agent/core/resolvconf.h"
#include "agent/interfaces.h"
#include "common/base/buf.h"
#include "common/base/file.h"

#define SYSTEM_FILE "/etc/resolv.conf"
#define UPSTREAM_FILE "/run/systemd/resolve/resolv.conf"
#define FILE_MAX (64 * 1024)
#define DNS_PORT 53

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
static size_t add_file(struct resolver *list, size_t n, const char *path,
                       enum verdict_source source, bool *stub)
{
    struct nameserver found[RESOLVCONF_MAX];
    struct err_info ignored;
    struct buf text;
    size_t n_found = 0;
    buf_init(&text, FILE_MAX);
    if (file_read(path, &text, &ignored) == ERR_OK)
        n_found = resolvconf_parse(found, buf_span(&text));
    buf_clear(&text);
    for (size_t i = 0; i < n_found; i++) {
        struct addr addr = to_addr(&found[i]);
        *stub |= found[i].ip.family == 4 && memcmp(found[i].ip.bytes, STUB.bytes, 4) == 0;
        n = add(list, n, &addr, source);
    }
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
    n = add_file(out, n, SYSTEM_FILE, SOURCE_SYSTEM, &stub);
    if (stub)
        n = add_file(out, n, UPSTREAM_FILE, SOURCE_UPSTREAM, &ignored);
    if (interfaces_gateway(&gateway, &own)) {
        memcpy(router.ip.bytes, &gateway, sizeof gateway);
        struct addr addr = to_addr(&router);
        n = add(out, n, &addr, SOURCE_GATEWAY);
    }
    return n;
}
