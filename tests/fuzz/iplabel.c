/* The contract of the address label: decoding, encoding and decoding again gives the same address;
 * the address is the one that the C library reads from the same text with ':' or '.'; and no policy
 * answers an address of the kinds that are never answered. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "dnsd/core/synth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The C library's reading of the label. It takes more ("::1", "1::" and dotted tails), so that only
 * what we accept is compared. */
static void check_against_libc(const struct ip *ip, struct span label)
{
    char text[64];
    uint8_t want[16];
    if (label.len >= sizeof text)
        abort();
    for (size_t i = 0; i < label.len; i++)
        text[i] = (char)(label.p[i] != '-' ? label.p[i] : ip->family == 4 ? '.' : ':');
    text[label.len] = 0;
    if (inet_pton(ip->family == 4 ? AF_INET : AF_INET6, text, want) != 1 ||
        memcmp(want, ip->bytes, ip->family == 4 ? 4 : 16) != 0)
        abort();
}

static int never_answered(const struct ip *ip)
{
    static const uint8_t MAPPED[12] = { [10] = 0xff, [11] = 0xff }, ZERO[16],
                         NAT64[12] = { 0, 0x64, 0xff, 0x9b },
                         NAT64_LOCAL[6] = { 0, 0x64, 0xff, 0x9b, 0, 1 }, TEREDO[4] = { 0x20, 1 };
    const uint8_t *b = ip->bytes;
    if (ip->family == 4)
        return memcmp(b, "\0\0\0\0", 4) == 0 || memcmp(b, "\xff\xff\xff\xff", 4) == 0 ||
               memcmp(b, "\xa9\xfe\xa9\xfe", 4) == 0 || (b[0] >= 224 && b[0] <= 239);
    return memcmp(b, ZERO, 16) == 0 || memcmp(b, MAPPED, 12) == 0 || memcmp(b, NAT64, 12) == 0 ||
           memcmp(b, NAT64_LOCAL, 6) == 0 || memcmp(b, TEREDO, 4) == 0 ||
           (b[0] == 0x20 && b[1] == 2) || b[0] == 0xff || (b[0] == 0xfe && (b[1] & 0xc0) == 0x80);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct synth_policy EVERYTHING = { .public_answers = SYNTH_PUBLIC_ALL,
                                                    .loopback = true };
    static const struct guard NOTHING = { NULL, NULL, NULL };
    struct ip ip, again;
    struct span label = { data, size };
    if (iplabel_decode(&ip, label) != ERR_OK)
        return 0;
    check_against_libc(&ip, label);
    char text[IPLABEL_TEXT_MAX];
    iplabel_encode(&ip, text);
    if (strlen(text) > NAME_LABEL_MAX || text[0] == '-' || text[strlen(text) - 1] == '-')
        abort();
    if (iplabel_decode(&again, span_str(text)) != ERR_OK || again.family != ip.family ||
        memcmp(again.bytes, ip.bytes, ip.family == 4 ? 4 : 16) != 0)
        abort();

    uint8_t wire[NAME_WIRE_MAX];
    struct name name;
    struct synth s;
    wire[0] = (uint8_t)size;
    memcpy(wire + 1, data, size);
    memcpy(wire + 1 + size, "\40abcdefghijklmnopqrstuvwxyz234567\1z", 36);
    if (name_read(&name, (struct span){ wire, size + 37 }) != ERR_OK)
        abort();
    synth_match(&s, &EVERYTHING, &NOTHING, &name, 1);
    if ((s.kind == SYNTH_ADDRESS) == never_answered(&ip))
        abort();
    return 0;
}
