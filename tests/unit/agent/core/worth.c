/* Which addresses are worth telling, and in which order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/worth.h"
#include "common/base/attr.h"

enum {
    DOWN = 1,
    UNPLUGGED = 2,
    LOOPBACK = 4,
    PEER = 8, /* point to point */
    DEFAULT = 16,
    TEMPORARY = 32,
    DEPRECATED = 64,
    TENTATIVE = 128
};

static struct worth_address make(const char *ip, unsigned link, const char *name, const char *kind,
                                 int flags)
{
    struct worth_address a = {
        .ip.family = strchr(ip, ':') != NULL ? 6 : 4,
        .link = link,
        .up = (flags & DOWN) == 0,
        .running = (flags & UNPLUGGED) == 0,
        .loopback = (flags & LOOPBACK) != 0,
        .point_to_point = (flags & PEER) != 0,
        .default_route = (flags & DEFAULT) != 0,
        .temporary = (flags & TEMPORARY) != 0,
        .deprecated = (flags & DEPRECATED) != 0,
        .tentative = (flags & TENTATIVE) != 0,
    };
    assert_int_equal(inet_pton(a.ip.family == 4 ? AF_INET : AF_INET6, ip, a.ip.bytes), 1);
    (void)snprintf(a.link_name, sizeof a.link_name, "%s", name);
    (void)snprintf(a.link_kind, sizeof a.link_kind, "%s", kind);
    return a;
}

static const struct {
    const char *why, *ip, *name, *kind;
    int flags;
    enum worth want;
} JUDGED[] = {
    { "a LAN address", "192.168.1.5", "eth0", "", DEFAULT, WORTH_YES },
    { "a global one", "2001:470::5", "eth0", "", DEFAULT, WORTH_YES },
    { "a ULA", "fd00::5", "wlan0", "", 0, WORTH_YES },
    { "a router's LAN is a bridge", "192.168.1.1", "br-lan", "bridge", 0, WORTH_YES },
    { "a bridge that a person named", "192.168.1.1", "br0", "bridge", 0, WORTH_YES },
    { "a VLAN", "192.168.20.1", "eth0.20", "vlan", 0, WORTH_YES },
    { "the way out of a container", "172.17.0.2", "eth0", "veth", DEFAULT, WORTH_YES },
    { "a container in the LAN itself", "192.168.1.9", "eth0", "macvlan", DEFAULT, WORTH_YES },
    { "down", "192.168.1.5", "eth0", "", DOWN, WORTH_NO_DOWN },
    { "the cable is out: still ours", "192.168.1.5", "eth0", "", UNPLUGGED, WORTH_YES },
    { "loopback", "127.0.0.1", "lo", "", LOOPBACK, WORTH_NO_LOOPBACK },
    { "a private address on loopback", "10.0.0.1", "lo", "", LOOPBACK, WORTH_NO_LOOPBACK },
    { "loopback elsewhere", "127.0.0.2", "eth0", "", 0, WORTH_NO_LOOPBACK },
    { "link-local IPv6", "fe80::1", "eth0", "", 0, WORTH_NO_FORBIDDEN },
    { "6to4", "2002:102:304::1", "eth0", "", 0, WORTH_NO_FORBIDDEN },
    { "link-local IPv4", "169.254.7.7", "eth0", "", 0, WORTH_NO_LINK_LOCAL },
    { "Docker's first bridge", "172.17.0.1", "docker0", "bridge", 0, WORTH_NO_CONTAINER },
    { "another of Docker's", "172.18.0.1", "br-0123456789ab", "bridge", 0, WORTH_NO_CONTAINER },
    { "nearly so", "172.18.0.1", "br-0123456789a", "bridge", 0, WORTH_YES },
    { "nearly so, too", "172.18.0.1", "br-0123456789ag", "bridge", 0, WORTH_YES },
    { "the host's end of a container", "10.1.1.1", "veth12ab", "veth", 0, WORTH_NO_CONTAINER },
    { "libvirt's", "192.168.122.1", "virbr0", "bridge", 0, WORTH_NO_CONTAINER },
    { "Kubernetes'", "10.42.0.1", "cni0", "bridge", 0, WORTH_NO_CONTAINER },
    { "Podman's", "10.88.0.1", "podman0", "bridge", 0, WORTH_NO_CONTAINER },
    { "Home Assistant's", "172.30.32.1", "hassio", "bridge", 0, WORTH_NO_CONTAINER },
    { "LXD's, global", "2001:470::1", "lxdbr0", "bridge", 0, WORTH_NO_CONTAINER },
    { "a dummy", "10.9.9.9", "dummy0", "dummy", 0, WORTH_NO_CONTAINER },
    { "OpenVPN's", "10.8.0.2", "tun0", "tun", PEER, WORTH_NO_VPN },
    { "a tap", "10.8.0.2", "tap0", "tun", 0, WORTH_NO_VPN },
    { "WireGuard's with a name of its own", "10.64.1.2", "office", "wireguard", 0, WORTH_NO_VPN },
    { "one known by its name only", "10.64.1.2", "wg0", "", 0, WORTH_NO_VPN },
    { "Tailscale's", "100.100.1.2", "tailscale0", "tun", 0, WORTH_NO_VPN },
    { "a VPN that is the way out, too", "10.64.1.2", "wg0", "wireguard", DEFAULT, WORTH_NO_VPN },
    { "a modem's or PPP's private one", "100.64.3.4", "ppp0", "ppp", DEFAULT | PEER, WORTH_NO_VPN },
    { "PPP is the way out: global", "93.184.216.34", "ppp0", "ppp", DEFAULT | PEER, WORTH_YES },
    { "perhaps somebody else's", "fd00::5", "eth0", "", TENTATIVE, WORTH_NO_TENTATIVE },
    { "on its way out", "2001:470::5", "eth0", "", DEPRECATED, WORTH_NO_DEPRECATED },
    { "temporary", "2001:470::5", "eth0", "", TEMPORARY, WORTH_NO_TEMPORARY },
    { "temporary and deprecated", "2001:470::5", "eth0", "", TEMPORARY | DEPRECATED,
      WORTH_NO_DEPRECATED },
};

static void test_judge(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(JUDGED); i++) {
        print_message("%s\n", JUDGED[i].why);
        struct worth_address a =
            make(JUDGED[i].ip, 2, JUDGED[i].name, JUDGED[i].kind, JUDGED[i].flags);
        assert_int_equal(worth_judge(&a, false), JUDGED[i].want);
        if (JUDGED[i].want == WORTH_NO_VPN)
            assert_int_equal(worth_judge(&a, true), WORTH_YES);
        else
            assert_int_equal(worth_judge(&a, true), JUDGED[i].want);
        assert_non_null(worth_text(JUDGED[i].want));
    }
}

struct shown {
    const char *ip, *name, *kind;
    unsigned link;
    int flags;
};

static const struct {
    const char *why;
    struct shown list[6];
    bool with_vpn;
    const char *want;
} ORDERED[] = {
    { "nothing", { { NULL, NULL, NULL, 0, 0 } }, false, "" },
    { "global, then LAN, then ULA",
      { { "fd00::5", "eth0", "", 2, DEFAULT },
        { "192.168.1.5", "eth0", "", 2, DEFAULT },
        { "2001:470::5", "eth0", "", 2, DEFAULT } },
      false,
      "gua 2001:470::5, lan 192.168.1.5, ula fd00::5" },
    { "IPv6 first among the global ones: nothing is in between",
      { { "93.184.216.34", "eth0", "", 2, DEFAULT }, { "2001:470::5", "eth0", "", 2, DEFAULT } },
      false,
      "gua 2001:470::5, gua 93.184.216.34" },
    { "the interface with the way out first",
      { { "10.0.0.5", "eth0", "", 2, 0 }, { "192.168.1.5", "wlan0", "", 3, DEFAULT } },
      false,
      "lan 192.168.1.5, lan 10.0.0.5" },
    { "one with its cable in first",
      { { "10.0.0.5", "eth0", "", 2, UNPLUGGED | DEFAULT }, { "192.168.1.5", "wlan0", "", 3, 0 } },
      false,
      "lan 192.168.1.5, lan 10.0.0.5" },
    { "what a carrier gave comes last",
      { { "100.64.1.5", "eth1", "", 2, DEFAULT }, { "192.168.1.5", "br-lan", "bridge", 3, 0 } },
      false,
      "lan 192.168.1.5, lan 100.64.1.5" },
    { "a VPN's last of its kind",
      { { "10.8.0.2", "wg0", "wireguard", 2, DEFAULT }, { "192.168.1.5", "eth0", "", 3, 0 } },
      true,
      "lan 192.168.1.5, lan 10.8.0.2" },
    { "each once",
      { { "10.0.0.5", "eth0", "", 2, 0 },
        { "10.0.0.5", "wlan0", "", 3, 0 },
        { "10.0.0.5", "eth0", "", 2, DEFAULT } },
      false,
      "lan 10.0.0.5" },
    { "once, though one of the two is not worth it",
      { { "10.0.0.5", "docker0", "bridge", 2, 0 }, { "10.0.0.5", "eth0", "", 3, 0 } },
      false,
      "lan 10.0.0.5" },
    { "equals by interface, then by number",
      { { "10.0.0.9", "eth1", "", 3, 0 },
        { "10.0.0.8", "eth0", "", 2, 0 },
        { "10.0.0.7", "eth0", "", 2, 0 } },
      false,
      "lan 10.0.0.7, lan 10.0.0.8, lan 10.0.0.9" },
};

static void write_picks(char out[512], const struct worth_pick *picks, size_t n)
{
    size_t len = 0;
    out[0] = 0;
    for (size_t i = 0; i < n; i++) {
        char ip[WORTH_TEXT_MAX];
        worth_format(&picks[i].ip, ip);
        len += (size_t)snprintf(out + len, 512 - len, "%s%s %s", i > 0 ? ", " : "",
                                worth_kind_name(picks[i].kind), ip);
    }
}

static void test_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ORDERED); i++) {
        struct worth_address list[6], reversed[6];
        struct worth_pick picks[6];
        char got[512];
        size_t n = 0;
        print_message("%s\n", ORDERED[i].why);
        for (; n < 6 && ORDERED[i].list[n].ip != NULL; n++) {
            const struct shown *s = &ORDERED[i].list[n];
            list[n] = make(s->ip, s->link, s->name, s->kind, s->flags);
        }
        for (size_t k = 0; k < n; k++)
            reversed[k] = list[n - 1 - k];
        write_picks(got, picks, worth_select(list, n, ORDERED[i].with_vpn, picks, 6));
        assert_string_equal(got, ORDERED[i].want);
        write_picks(got, picks, worth_select(reversed, n, ORDERED[i].with_vpn, picks, 6));
        assert_string_equal(got, ORDERED[i].want);
    }
}

static void test_cap(void **state)
{
    (void)state;
    struct worth_address list[2] = { make("192.168.1.5", 2, "eth0", "", 0),
                                     make("2001:470::5", 2, "eth0", "", 0) };
    struct worth_pick pick[1];
    assert_int_equal(worth_select(list, 2, false, pick, 1), 1);
    assert_int_equal(pick[0].kind, WORTH_GUA); /* the best, not the first */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_judge),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_cap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
