/* frame.h - an Ethernet frame with a UDP datagram in it: where its data is, and the same frame
 * turned round, so that it takes a reply back the way it came. Pure; any thread.
 * [RFC 768, RFC 791, RFC 8200] */
#ifndef LANYARD_DNSD_CORE_FRAME_H
#define LANYARD_DNSD_CORE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/span.h"

#define FRAME_HEAD_MAX (14 + 40 + 8) /* bytes before the data: Ethernet, IPv6, UDP */

struct frame {
    bool v6;
    uint16_t source_port, dest_port;
    size_t source, dest; /* where the IP addresses are: 4 or 16 bytes each */
    size_t data;         /* where the data is */
    size_t data_len;
};

/* Reads `bytes`. False for all but a whole, unfragmented datagram over IPv4 without options, or
 * over IPv6 without extension headers, that comes from where a reply can go. The IPv4 header's
 * checksum is checked; UDP's is not, which virtual networks leave to be filled in by a card. */
NODISCARD bool frame_read(struct frame *f, struct span bytes);

/* Makes of the frame at `bytes`, which frame_read() has read, the one that takes the first
 * `data_len` bytes at f->data back; there is room for them. Returns its length. */
NODISCARD size_t frame_turn(const struct frame *f, uint8_t *bytes, size_t data_len);

#endif
