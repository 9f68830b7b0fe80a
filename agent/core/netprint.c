#include "agent/core/netprint.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/base/siphash.h"

#define TEXT_MAX 192

/* A sum, so that the order is of no account. The key is known: who could choose addresses that make
 * the same print has the network anyway. */
static void add_line(struct netprint *p, const char *line)
{
    static const uint8_t KEY[SIPHASH_KEY_LEN] = { 0 };
    p->sum += siphash(KEY, line, strlen(line));
}

static bool leads_somewhere(enum worth w)
{
    switch (w) {
    case WORTH_NO_DOWN:
    case WORTH_NO_LOOPBACK:
    case WORTH_NO_FORBIDDEN:
    case WORTH_NO_LINK_LOCAL:
    case WORTH_NO_TENTATIVE:
    case WORTH_NO_CONTAINER:
        return false;
    default:
        return true;
    }
}

static void format(const struct ip *ip, char out[WORTH_TEXT_MAX])
{
    out[0] = 0;
    if (ip->family != 0)
        worth_format(ip, out);
}

void netprint_add_address(struct netprint *p, const struct worth_address *a)
{
    char line[TEXT_MAX], ip[WORTH_TEXT_MAX];
    enum worth w = worth_judge(a, true);
    if (!leads_somewhere(w))
        return;
    format(&a->ip, ip);
    (void)snprintf(line, sizeof line, "address %s/%u %u %d %d %d", ip, a->prefix_bits, a->link,
                   (int)w, a->running, a->default_route);
    add_line(p, line);
}

void netprint_add_way(struct netprint *p, unsigned link, const struct ip *gateway,
                      const struct ip *own)
{
    char line[TEXT_MAX], to[WORTH_TEXT_MAX], from[WORTH_TEXT_MAX];
    if (link == 0)
        return;
    format(gateway, to);
    format(own, from);
    (void)snprintf(line, sizeof line, "way %u %s %s", link, to, from);
    add_line(p, line);
}

void netprint_add_resolver(struct netprint *p, const char *resolver)
{
    char line[TEXT_MAX];
    (void)snprintf(line, sizeof line, "resolver %.128s", resolver);
    add_line(p, line);
}
