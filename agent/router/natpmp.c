#include <errno.h>
#include <sys/select.h>
#include <unistd.h>

#include <natpmp.h>

#include "agent/router/router.h"
#include "common/base/clock.h"

#define PATIENCE_MS 4000 /* four tries; a router at home answers the first */

static enum err explain(int rc, struct err_info *info)
{
    switch (rc) {
    case NATPMP_ERR_NOGATEWAYSUPPORT:
    case NATPMP_ERR_RECVFROM:
    case NATPMP_TRYAGAIN:
        return err_set(info, ERR_NOTFOUND, "the router does not speak NAT-PMP");
    case NATPMP_ERR_NOTAUTHORIZED:
        return err_set(info, ERR_REMOTE, "NAT-PMP is switched off in the router");
    case NATPMP_ERR_NETWORKFAILURE:
        return err_set(info, ERR_REMOTE, "the router says that it has no Internet (NAT-PMP)");
    case NATPMP_ERR_OUTOFRESOURCES:
        return err_set(info, ERR_REMOTE, "the router has no more mappings to give (NAT-PMP)");
    default:
        return err_set(info, ERR_REMOTE, "NAT-PMP failed with code %d", rc);
    }
}

/* Waits for the answer to what was sent, sending it again when it is due. */
static int wait_answer(natpmp_t *n, natpmpresp_t *answer)
{
    int64_t end_ms = clock_mono_ms() + PATIENCE_MS;
    int rc = NATPMP_TRYAGAIN;
    while (rc == NATPMP_TRYAGAIN && clock_mono_ms() < end_ms) {
        struct timeval wait = { 0 };
        fd_set fds;
        FD_ZERO(&fds);
        FD_SET(n->s, &fds);
        if (getnatpmprequesttimeout(n, &wait) != 0 || wait.tv_sec < 0)
            wait = (struct timeval){ 0 };
        if (select(n->s + 1, &fds, NULL, NULL, &wait) < 0 && errno != EINTR)
            return NATPMP_ERR_RECVFROM;
        rc = readnatpmpresponseorretry(n, answer);
    }
    return rc;
}

/* The external port and the lifetime that the router gives; of lifetime 0 it forgets. */
static int ask_port(natpmp_t *n, const struct router_mapping *m, natpmpresp_t *answer)
{
    int rc = sendnewportmappingrequest(n, NATPMP_PROTOCOL_TCP, m->port, m->external, m->lifetime_s);
    rc = rc < 0 ? rc : wait_answer(n, answer);
    if (rc == 0 && (answer->type != NATPMP_RESPTYPE_TCPPORTMAPPING ||
                    answer->pnu.newportmapping.privateport != m->port))
        rc = NATPMP_ERR_UNDEFINEDERROR;
    return rc;
}

static enum err map(const struct router_place *at, struct router_mapping *m, struct err_info *info)
{
    natpmp_t n;
    natpmpresp_t answer;
    int rc = initnatpmp(&n, 1, at->gateway.s_addr);
    if (rc != 0)
        return explain(rc, info);
    rc = sendpublicaddressrequest(&n);
    rc = rc < 0 ? rc : wait_answer(&n, &answer);
    if (rc == 0 && answer.type != NATPMP_RESPTYPE_PUBLICADDRESS)
        rc = NATPMP_ERR_UNDEFINEDERROR;
    if (rc == 0) {
        m->address = answer.pnu.publicaddress.addr;
        rc = ask_port(&n, m, &answer);
    }
    (void)closenatpmp(&n);
    if (rc != 0)
        return explain(rc, info);
    m->external = answer.pnu.newportmapping.mappedpublicport;
    m->lifetime_s = answer.pnu.newportmapping.lifetime;
    return ERR_OK;
}

static enum err unmap(const struct router_place *at, const struct router_mapping *m,
                      struct err_info *info)
{
    natpmp_t n;
    natpmpresp_t answer;
    struct router_mapping none = { .port = m->port };
    int rc = initnatpmp(&n, 1, at->gateway.s_addr);
    if (rc != 0)
        return explain(rc, info);
    rc = ask_port(&n, &none, &answer);
    (void)closenatpmp(&n);
    return rc == 0 ? ERR_OK : explain(rc, info);
}

const struct router_protocol NATPMP = { "natpmp", map, unmap };
