#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/attr.h"
#include "dnsd/core/frame.h"

/* 198.18.0.2 port 50000 to 198.18.0.1 port 53, and the same over IPv6, each with 12 bytes of data
 * and one of padding after it. */
static const uint8_t V4[] = { 0x02, 0,    0,    0,    0,    1,   0x02, 0,    0,    0,    0,
                              2,    0x08, 0x00, 0x45, 0x10, 0,   40,   0x12, 0x34, 0x40, 0,
                              64,   17,   0x9c, 0x59, 198,  18,  0,    2,    198,  18,   0,
                              1,    0xc3, 0x50, 0,    53,   0,   20,   0,    0,    'a',  'b',
                              'c',  'd',  'e',  'f',  'g',  'h', 'i',  'j',  'k',  'l',  0xff };
static const uint8_t V6[] = { 0x02, 0,    0,    0,    0,   1,    0x02, 0,   0,   0,   0,
                              2,    0x86, 0xdd, 0x60, 1,   2,    3,    0,   20,  17,  64,
                              0xfd, 0x77, 0,    0,    0,   0,    0,    0,   0,   0,   0,
                              0,    0,    0,    0,    2,   0xfd, 0x77, 0,   0,   0,   0,
                              0,    0,    0,    0,    0,   0,    0,    0,   0,   1,   0xc3,
                              0x50, 0,    53,   0,    20,  0,    0,    'a', 'b', 'c', 'd',
                              'e',  'f',  'g',  'h',  'i', 'j',  'k',  'l', 0xff };

/* By the book, 16 bits at a time [RFC 1071 s4.1]: 0 for bytes with a right checksum among them. */
static uint16_t checksum(uint32_t sum, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sum += i % 2 == 0 ? (uint32_t)p[i] << 8 : p[i];
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static void put_ipv4_checksum(uint8_t *bytes)
{
    bytes[24] = bytes[25] = 0;
    uint16_t c = checksum(0, bytes + 14, 20);
    bytes[24] = (uint8_t)(c >> 8);
    bytes[25] = (uint8_t)c;
}

static void reads_both_families(void **state)
{
    (void)state;
    struct frame f;
    assert_true(frame_read(&f, (struct span){ V4, sizeof V4 }));
    assert_false(f.v6);
    assert_int_equal(f.source_port, 50000);
    assert_int_equal(f.dest_port, 53);
    assert_memory_equal(V4 + f.source, "\306\22\0\2", 4);
    assert_memory_equal(V4 + f.dest, "\306\22\0\1", 4);
    assert_int_equal(f.data_len, 12);
    assert_memory_equal(V4 + f.data, "abcdefghijkl", 12);
    assert_true(frame_read(&f, (struct span){ V6, sizeof V6 }));
    assert_true(f.v6);
    assert_int_equal(f.source_port, 50000);
    assert_int_equal(f.dest_port, 53);
    assert_int_equal(V6[f.source + 15], 2);
    assert_int_equal(V6[f.dest + 15], 1);
    assert_memory_equal(V6 + f.data, "abcdefghijkl", 12);
}

static void refuses(void **state)
{
    (void)state;
    static const struct {
        const char *why;
        const uint8_t *frame;
        size_t at;
        int value;
        size_t len; /* 0: all of it */
    } ROWS[] = {
        { "sent by a group", V4, 6, 0x03, 0 },
        { "a VLAN tag", V4, 12, 0x81, 0 },
        { "ARP", V4, 13, 0x06, 0 },
        { "IPv5", V4, 14, 0x55, 0 },
        { "options", V4, 14, 0x46, 0 },
        { "longer than the frame", V4, 17, 42, 0 },
        { "shorter than its headers", V4, 17, 27, 0 },
        { "more fragments", V4, 20, 0x20, 0 },
        { "a later fragment", V4, 21, 1, 0 },
        { "TCP", V4, 23, 6, 0 },
        { "a wrong header checksum", V4, 25, -1, 0 },
        { "from this network", V4, 26, 0, 0 },
        { "from loopback", V4, 26, 127, 0 },
        { "from a group", V4, 26, 224, 0 },
        { "from everybody", V4, 26, 255, 0 },
        { "a datagram longer than the packet", V4, 39, 21, 0 },
        { "a datagram shorter than its header", V4, 39, 7, 0 },
        { "half a header", V4, 0, 0x02, 41 },
        { "nothing", V4, 0, 0x02, 0 },
        { "IPv4 inside", V6, 14, 0x40, 0 },
        { "an extension header", V6, 20, 0, 0 },
        { "longer than the frame", V6, 19, 22, 0 },
        { "shorter than its headers", V6, 19, 7, 0 },
        { "from a group", V6, 22, 0xff, 0 },
        { "a datagram longer than the packet", V6, 59, 21, 0 },
        { "half a header", V6, 0, 0x02, 61 },
    };
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        uint8_t bytes[sizeof V6];
        struct frame f;
        bool v6 = ROWS[i].frame == V6;
        size_t len = v6 ? sizeof V6 : sizeof V4;
        memcpy(bytes, ROWS[i].frame, len);
        bytes[ROWS[i].at] = (uint8_t)(ROWS[i].value < 0 ? bytes[ROWS[i].at] + 1 : ROWS[i].value);
        if (!v6 && ROWS[i].at != 25)
            put_ipv4_checksum(bytes); /* wrong in one way only */
        if (ROWS[i].len > 0)
            len = ROWS[i].len;
        else if (strcmp(ROWS[i].why, "nothing") == 0)
            len = 0;
        if (frame_read(&f, (struct span){ bytes, len }))
            fail_msg("%s was read", ROWS[i].why);
    }
    static const uint8_t UNSPECIFIED[16], LOOPBACK[16] = { [15] = 1 };
    uint8_t bytes[sizeof V6];
    struct frame f;
    memcpy(bytes, V6, sizeof bytes);
    memcpy(bytes + 22, UNSPECIFIED, 16);
    assert_false(frame_read(&f, (struct span){ bytes, sizeof bytes }));
    memcpy(bytes + 22, LOOPBACK, 16);
    assert_false(frame_read(&f, (struct span){ bytes, sizeof bytes }));
    memcpy(bytes, V6, sizeof bytes);
    bytes[54] = bytes[55] = 0; /* no port to reply to */
    assert_false(frame_read(&f, (struct span){ bytes, sizeof bytes }));
}

/* Turned round, it reads as the reply: of every length, with checksums that are right. */
static void turns_round(void **state)
{
    (void)state;
    for (size_t n = 0; n <= 1232; n++) {
        for (int v6 = 0; v6 < 2; v6++) {
            uint8_t bytes[2048];
            struct frame f, back;
            memcpy(bytes, v6 ? V6 : V4, v6 ? sizeof V6 : sizeof V4);
            assert_true(frame_read(&f, (struct span){ bytes, v6 ? sizeof V6 : sizeof V4 }));
            for (size_t i = 0; i < n; i++)
                bytes[f.data + i] = (uint8_t)(i * 7 + n);
            size_t len = frame_turn(&f, bytes, n);
            assert_int_equal(len, f.data + n);
            assert_true(frame_read(&back, (struct span){ bytes, len }));
            assert_memory_equal(bytes, "\2\0\0\0\0\2\2\0\0\0\0\1", 12);
            assert_memory_equal(bytes + back.source, (v6 ? V6 : V4) + f.dest, v6 ? 16 : 4);
            assert_memory_equal(bytes + back.dest, (v6 ? V6 : V4) + f.source, v6 ? 16 : 4);
            assert_int_equal(back.source_port, 53);
            assert_int_equal(back.dest_port, 50000);
            assert_int_equal(back.data_len, n);
            /* addresses, protocol and length, then the datagram [RFC 768, RFC 8200 s8.1] */
            uint32_t sum = 17 + 8 + (uint32_t)n;
            sum += (uint16_t)~checksum(0, bytes + f.source, 2 * (f.dest - f.source));
            assert_int_equal(checksum(sum, bytes + f.data - 8, 8 + n), 0);
            assert_true(bytes[f.data - 2] != 0 || bytes[f.data - 1] != 0);
            assert_int_equal(bytes[v6 ? 21 : 22], 64);
            assert_int_equal(v6 ? bytes[15] : bytes[20], 0); /* no flow label; may be cut */
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(reads_both_families),
                                        cmocka_unit_test(refuses), cmocka_unit_test(turns_round) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
