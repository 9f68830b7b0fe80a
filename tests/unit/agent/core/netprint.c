/* What makes the network another one, and what does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "agent/core/netprint.h"
#include "common/base/attr.h"

enum {
    DOWN = 1,
    UNPLUGGED = 2,
    DEFAULT = 4,
    TEMPORARY = 8,
    DEPRECATED = 16,
    TENTATIVE = 32,
    LO = 64
};

/* With the rest of SAME. */
struct network {
    const char *ip, *link_name, *link_kind;
    unsigned bits, link;
    int flags;
    const char *gateway, *own, *resolver;
};

#define LAN "fd00::5", "eth0", "", 64, 2
#define WAY "192.168.1.1", "192.168.1.5", "192.168.1.1:53"

static const struct network SAME = { LAN, DEFAULT, WAY };

static const struct {
    const char *why;
    struct network other;
} CHANGES[] = {
    { "another address", { "fd00::6", "eth0", "", 64, 2, DEFAULT, WAY } },
    { "another subnet", { "fd00::5", "eth0", "", 48, 2, DEFAULT, WAY } },
    { "another interface", { "fd00::5", "eth0", "", 64, 3, DEFAULT, WAY } },
    { "the way out goes elsewhere", { LAN, 0, WAY } },
    { "the cable is out", { LAN, DEFAULT | UNPLUGGED, WAY } },
    { "the interface is down", { LAN, DEFAULT | DOWN, WAY } },
    { "on its way out", { LAN, DEFAULT | DEPRECATED, WAY } },
    { "made for privacy", { LAN, DEFAULT | TEMPORARY, WAY } },
    { "not checked yet", { LAN, DEFAULT | TENTATIVE, WAY } },
    { "another router", { LAN, DEFAULT, "192.168.1.2", "192.168.1.5", "192.168.1.1:53" } },
    { "no router", { LAN, DEFAULT, NULL, "192.168.1.5", "192.168.1.1:53" } },
    { "seen by another address", { LAN, DEFAULT, "192.168.1.1", "192.168.1.6", "192.168.1.1:53" } },
    { "another resolver", { LAN, DEFAULT, "192.168.1.1", "192.168.1.5", "9.9.9.9:53" } },
    { "no resolver", { LAN, DEFAULT, "192.168.1.1", "192.168.1.5", NULL } },
};

/* Beside SAME they are of no account. */
static const struct {
    const char *why, *ip, *name, *kind;
    int flags;
} NOTHING[] = {
    { "containers", "172.17.0.1", "docker0", "bridge", 0 },
    { "a link-local one", "fe80::5", "eth0", "", DEFAULT },
    { "a link-local one over IPv4", "169.254.3.3", "eth0", "", 0 },
    { "loopback", "10.9.9.9", "lo", "", LO },
    { "not checked yet", "fd00::7", "eth0", "", TENTATIVE },
    { "an interface that is down", "192.168.9.5", "eth1", "", DOWN },
};

static struct ip to_ip(const char *text)
{
    struct ip ip = { 0 };
    if (text == NULL)
        return ip;
    ip.family = strchr(text, ':') != NULL ? 6 : 4;
    assert_int_equal(inet_pton(ip.family == 4 ? AF_INET : AF_INET6, text, ip.bytes), 1);
    return ip;
}

static struct worth_address to_address(const char *ip, const char *name, const char *kind,
                                       unsigned bits, unsigned link, int flags)
{
    struct worth_address a = {
        .ip = to_ip(ip),
        .prefix_bits = bits,
        .link = link,
        .up = (flags & DOWN) == 0,
        .running = (flags & UNPLUGGED) == 0,
        .loopback = (flags & LO) != 0,
        .default_route = (flags & DEFAULT) != 0,
        .temporary = (flags & TEMPORARY) != 0,
        .deprecated = (flags & DEPRECATED) != 0,
        .tentative = (flags & TENTATIVE) != 0,
    };
    (void)snprintf(a.link_name, sizeof a.link_name, "%s", name);
    (void)snprintf(a.link_kind, sizeof a.link_kind, "%s", kind);
    return a;
}

static struct netprint print_of(const struct network *n)
{
    struct netprint p = { 0 };
    struct worth_address a =
        to_address(n->ip, n->link_name, n->link_kind, n->bits, n->link, n->flags);
    struct ip gateway = to_ip(n->gateway), own = to_ip(n->own);
    netprint_add_address(&p, &a);
    netprint_add_way(&p, 2, &gateway, &own);
    if (n->resolver != NULL)
        netprint_add_resolver(&p, n->resolver);
    return p;
}

static void test_changes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CHANGES); i++) {
        print_message("%s\n", CHANGES[i].why);
        assert_int_not_equal(print_of(&CHANGES[i].other).sum, print_of(&SAME).sum);
    }
    assert_int_equal(print_of(&SAME).sum, print_of(&SAME).sum);
}

static void test_of_no_account(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(NOTHING); i++) {
        struct netprint p = print_of(&SAME);
        struct worth_address a =
            to_address(NOTHING[i].ip, NOTHING[i].name, NOTHING[i].kind, 24, 7, NOTHING[i].flags);
        print_message("%s\n", NOTHING[i].why);
        netprint_add_address(&p, &a);
        assert_int_equal(p.sum, print_of(&SAME).sum);
    }
    struct netprint p = print_of(&SAME);
    struct ip none = { 0 };
    netprint_add_way(&p, 0, &none, &none); /* there is none */
    assert_int_equal(p.sum, print_of(&SAME).sum);
}

static void test_order(void **state)
{
    (void)state;
    struct netprint p = { 0 }, q = { 0 };
    struct worth_address a = to_address("192.168.1.5", "eth0", "", 24, 2, DEFAULT);
    struct worth_address b = to_address("192.168.1.6", "eth0", "", 24, 2, DEFAULT);
    netprint_add_address(&p, &a);
    netprint_add_address(&p, &b);
    netprint_add_resolver(&p, "192.168.1.1:53");
    netprint_add_resolver(&q, "192.168.1.1:53");
    netprint_add_address(&q, &b);
    netprint_add_address(&q, &a);
    assert_int_equal(p.sum, q.sum);
    netprint_add_address(&q, &a); /* twice is not never */
    netprint_add_address(&q, &a);
    assert_int_not_equal(p.sum, q.sum);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_of_no_account),
        cmocka_unit_test(test_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
