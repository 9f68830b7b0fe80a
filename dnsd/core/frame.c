#include "dnsd/core/frame.h"

#include <string.h>

#define MAC_LEN 6
#define ETHERNET_LEN 14
#define IPV4_LEN 20
#define IPV6_LEN 40
#define UDP_LEN 8
#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_IPV6 0x86dd
#define PROTOCOL_UDP 17
#define HOPS 64

/* Places in the IP header, and of its checksum. */
enum {
    V4_LEN_AT = 2,
    V4_FRAGMENT_AT = 6,
    V4_TTL_AT = 8,
    V4_PROTOCOL_AT = 9,
    V4_CHECKSUM_AT = 10,
    V4_SOURCE_AT = 12,
    V6_LEN_AT = 4,
    V6_NEXT_AT = 6,
    V6_HOPS_AT = 7,
    V6_SOURCE_AT = 8,
    UDP_LEN_AT = 4,
    UDP_CHECKSUM_AT = 6
};

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, size_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

/* Adds `n` bytes to a sum in which the order of the bytes is the machine's. [RFC 1071 s2] */
static uint64_t sum_add(uint64_t sum, const uint8_t *p, size_t n)
{
    uint32_t v;
    for (; n >= sizeof v; p += sizeof v, n -= sizeof v) {
        memcpy(&v, p, sizeof v);
        sum += v;
    }
    v = 0;
    memcpy(&v, p, n);
    return sum + v;
}

/* The checksum of what was added, ready to be stored as it is in memory. */
static uint16_t sum_end(uint64_t sum)
{
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static bool is_v4_host(const uint8_t *a)
{
    return a[0] != 0 && a[0] != 127 && a[0] < 224;
}

static bool is_v6_host(const uint8_t *a)
{
    static const uint8_t ZEROS[15];
    return a[0] != 0xff && (memcmp(a, ZEROS, sizeof ZEROS) != 0 || a[15] > 1);
}

/* The IPv4 header at `p`, of `n` bytes with what follows: how many of these are of the packet; 0
 * for one that is not for us. */
static size_t read_v4(const uint8_t *p, size_t n)
{
    if (n < IPV4_LEN + UDP_LEN || p[0] != 0x45 || p[V4_PROTOCOL_AT] != PROTOCOL_UDP)
        return 0;
    size_t len = get16(p + V4_LEN_AT);
    bool is_part = (get16(p + V4_FRAGMENT_AT) & 0x3fff) != 0; /* more to come, or not the first */
    if (len > n || is_part || !is_v4_host(p + V4_SOURCE_AT) ||
        sum_end(sum_add(0, p, IPV4_LEN)) != 0)
        return 0;
    return len;
}

static size_t read_v6(const uint8_t *p, size_t n)
{
    if (n < IPV6_LEN + UDP_LEN || p[0] >> 4 != 6 || p[V6_NEXT_AT] != PROTOCOL_UDP)
        return 0;
    size_t len = IPV6_LEN + (size_t)get16(p + V6_LEN_AT);
    return len <= n && is_v6_host(p + V6_SOURCE_AT) ? len : 0;
}

bool frame_read(struct frame *f, struct span bytes)
{
    const uint8_t *ip = bytes.p + ETHERNET_LEN;
    if (bytes.len < ETHERNET_LEN + IPV4_LEN + UDP_LEN || (bytes.p[MAC_LEN] & 1) != 0)
        return false; /* too short; or sent by a group, which nobody can be */
    unsigned type = get16(bytes.p + 2 * MAC_LEN);
    if (type != ETHERTYPE_IPV4 && type != ETHERTYPE_IPV6)
        return false;
    f->v6 = type == ETHERTYPE_IPV6;
    size_t head = f->v6 ? IPV6_LEN : IPV4_LEN;
    size_t len = (f->v6 ? read_v6 : read_v4)(ip, bytes.len - ETHERNET_LEN);
    if (len < head + UDP_LEN)
        return false;
    const uint8_t *udp = ip + head;
    size_t udp_len = get16(udp + UDP_LEN_AT);
    f->source = ETHERNET_LEN + (f->v6 ? V6_SOURCE_AT : V4_SOURCE_AT);
    f->dest = f->source + (f->v6 ? 16 : 4);
    f->source_port = get16(udp);
    f->dest_port = get16(udp + 2);
    f->data = ETHERNET_LEN + head + UDP_LEN;
    f->data_len = udp_len - UDP_LEN;
    return udp_len >= UDP_LEN && udp_len <= len - head && f->source_port != 0;
}

static void swap(uint8_t *a, uint8_t *b, size_t n)
{
    uint8_t kept[16];
    memcpy(kept, a, n);
    memcpy(a, b, n);
    memcpy(b, kept, n);
}

/* UDP's checksum, which covers the addresses as well. */
static void seal_udp(const struct frame *f, uint8_t *bytes, size_t udp_len)
{
    uint8_t *udp = bytes + f->data - UDP_LEN;
    uint8_t rest[4] = { 0, PROTOCOL_UDP };
    put16(rest + 2, udp_len);
    memset(udp + UDP_CHECKSUM_AT, 0, 2);
    uint64_t sum = sum_add(0, bytes + f->source, 2 * (f->dest - f->source));
    sum = sum_add(sum, rest, sizeof rest);
    uint16_t checksum = sum_end(sum_add(sum, udp, udp_len));
    if (checksum == 0)
        checksum = 0xffff; /* 0 would mean that there is none */
    memcpy(udp + UDP_CHECKSUM_AT, &checksum, sizeof checksum);
}

size_t frame_turn(const struct frame *f, uint8_t *bytes, size_t data_len)
{
    uint8_t *ip = bytes + ETHERNET_LEN;
    uint8_t *udp = bytes + f->data - UDP_LEN;
    size_t udp_len = UDP_LEN + data_len;
    swap(bytes, bytes + MAC_LEN, MAC_LEN);
    swap(bytes + f->source, bytes + f->dest, f->dest - f->source);
    swap(udp, udp + 2, 2);
    put16(udp + UDP_LEN_AT, udp_len);
    if (f->v6) {
        memset(ip, 0, 4); /* no traffic class, no flow label */
        ip[0] = 6 << 4;
        put16(ip + V6_LEN_AT, udp_len);
        ip[V6_HOPS_AT] = HOPS;
    } else {
        ip[1] = 0; /* type of service */
        put16(ip + V4_LEN_AT, IPV4_LEN + udp_len);
        put16(ip + V4_FRAGMENT_AT, 0); /* routers may cut it, as what the kernel sends for us */
        ip[V4_TTL_AT] = HOPS;
        memset(ip + V4_CHECKSUM_AT, 0, 2);
        uint16_t checksum = sum_end(sum_add(0, ip, IPV4_LEN));
        memcpy(ip + V4_CHECKSUM_AT, &checksum, sizeof checksum);
    }
    seal_udp(f, bytes, udp_len);
    return f->data + data_len;
}
