#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <miniupnpc/miniupnpc.h>
#include <miniupnpc/upnpcommands.h>
#include <miniupnpc/upnperrors.h>

#include "agent/router/router.h"

#define SEARCH_MS 2000
#define PORTS_TRIED 8
#define PORT_STEP 977 /* away from what a neighbour of the same kind asks for */
#define PORT_FIRST 1024
#define CONFLICT 718       /* ConflictInMappingEntry */
#define PERMANENT_ONLY 725 /* OnlyPermanentLeasesSupported */

struct igd {
    struct UPNPUrls urls;
    struct IGDdatas data;
    char own[INET_ADDRSTRLEN];
};

/* Whether `url` leads to the gateway and nowhere else: anybody on the network can say that it is a
 * router, and send us anywhere. */
static bool is_at(const char *url, const char *gateway)
{
    static const char PREFIX[] = "http://";
    size_t len = strlen(gateway);
    if (url == NULL || strncmp(url, PREFIX, sizeof PREFIX - 1) != 0)
        return false;
    url += sizeof PREFIX - 1;
    return strncmp(url, gateway, len) == 0 && (url[len] == ':' || url[len] == '/');
}

/* Whether what the description says is a way to map ports that ends at the gateway. Nothing is
 * asked of it before: it may lead anywhere. */
static bool is_usable(struct igd *g, const char *gateway)
{
    return g->data.first.servicetype[0] != 0 && is_at(g->urls.controlURL, gateway);
}

/* Some have two ways to the Internet, such as IP and PPP, and use one. */
static bool use_second(struct igd *g, const char *url, const char *gateway)
{
    struct IGDdatas_service first = g->data.first;
    if (g->data.second.servicetype[0] == 0)
        return false;
    g->data.first = g->data.second;
    g->data.second = first;
    FreeUPNPUrls(&g->urls);
    GetUPNPUrls(&g->urls, &g->data, url, 0);
    return is_usable(g, gateway);
}

/* Reads the description at `url`. */
static enum err read_igd(struct igd *g, const char *url, const char *gateway, struct err_info *info)
{
    char lan[64];
    if (UPNP_GetIGDFromUrl(url, &g->urls, &g->data, lan, sizeof lan) != 1 ||
        g->data.first.servicetype[0] == 0)
        return err_set(info, ERR_NOTFOUND, "the router does not map ports by UPnP");
    if (is_usable(g, gateway) &&
        (UPNPIGD_IsConnected(&g->urls, &g->data) == 1 || g->data.second.servicetype[0] == 0 ||
         use_second(g, url, gateway)))
        return ERR_OK;
    return err_set(info, ERR_REMOTE, "the router's UPnP leads away from the router");
}

static enum err open_igd(const struct router_place *at, struct igd *g, struct err_info *info)
{
    char gateway[INET_ADDRSTRLEN];
    int error = 0;
    enum err e = err_set(info, ERR_NOTFOUND, "the router does not speak UPnP");
    (void)inet_ntop(AF_INET, &at->gateway, gateway, sizeof gateway);
    (void)inet_ntop(AF_INET, &at->own, g->own, sizeof g->own);
    /* no minissdpd, which is asked by a Unix socket */
    struct UPNPDev *all = upnpDiscover(SEARCH_MS, g->own, "", UPNP_LOCAL_PORT_ANY, 0, 2, &error);
    for (const struct UPNPDev *d = all; d != NULL && e != ERR_OK; d = d->pNext) {
        if (!is_at(d->descURL, gateway))
            continue;
        FreeUPNPUrls(&g->urls);
        e = read_igd(g, d->descURL, gateway, info);
    }
    freeUPNPDevlist(all);
    if (e != ERR_OK)
        FreeUPNPUrls(&g->urls);
    return e;
}

static int add(const struct igd *g, uint16_t port, uint16_t external, uint32_t lifetime_s)
{
    char in[8], out[8], lease[16];
    (void)snprintf(in, sizeof in, "%u", port);
    (void)snprintf(out, sizeof out, "%u", external);
    (void)snprintf(lease, sizeof lease, "%u", lifetime_s);
    return UPNP_AddPortMapping(g->urls.controlURL, g->data.first.servicetype, out, in, g->own,
                               "lanyard", "TCP", NULL, lease);
}

/* Another port for as long as somebody else has it, and one without end where the router knows no
 * other: it is asked for again all the same, since a restart of the router ends it. */
static int add_somewhere(const struct igd *g, struct router_mapping *m)
{
    uint32_t lease_s = m->lifetime_s;
    int rc = CONFLICT;
    for (int i = 0; i < PORTS_TRIED && rc == CONFLICT; i++) {
        rc = add(g, m->port, m->external, lease_s);
        if (rc == PERMANENT_ONLY && lease_s > 0) {
            lease_s = 0;
            rc = add(g, m->port, m->external, lease_s);
        }
        if (rc == CONFLICT)
            m->external = (uint16_t)(PORT_FIRST + (m->external + PORT_STEP - PORT_FIRST) %
                                                      (UINT16_MAX + 1 - PORT_FIRST));
    }
    m->lifetime_s = lease_s;
    return rc;
}

static enum err refused(int rc, struct err_info *info)
{
    const char *text = strupnperror(rc);
    return err_set(info, ERR_REMOTE, "the router refuses (UPnP %d%s%s)", rc,
                   text != NULL ? ": " : "", text != NULL ? text : "");
}

static enum err map(const struct router_place *at, struct router_mapping *m, struct err_info *info)
{
    struct igd g = { 0 };
    char address[64] = "";
    enum err e = open_igd(at, &g, info);
    if (e != ERR_OK)
        return e;
    int rc = UPNP_GetExternalIPAddress(g.urls.controlURL, g.data.first.servicetype, address);
    if (rc != 0 || inet_pton(AF_INET, address, &m->address) != 1)
        m->address.s_addr = 0;
    rc = add_somewhere(&g, m);
    FreeUPNPUrls(&g.urls);
    return rc == 0 ? ERR_OK : refused(rc, info);
}

static enum err unmap(const struct router_place *at, const struct router_mapping *m,
                      struct err_info *info)
{
    struct igd g = { 0 };
    char out[8];
    enum err e = open_igd(at, &g, info);
    if (e != ERR_OK)
        return e;
    (void)snprintf(out, sizeof out, "%u", m->external);
    int rc = UPNP_DeletePortMapping(g.urls.controlURL, g.data.first.servicetype, out, "TCP", NULL);
    FreeUPNPUrls(&g.urls);
    return rc == 0 ? ERR_OK : refused(rc, info);
}

const struct router_protocol UPNP = { "upnp", map, unmap };
