/* relayframe.h - what a device and its relay say to each other on the control connection. Pure; no
 * allocation; any thread.
 *
 * The device connects to the relay's control address with TLS 1.3, both sides with their identity
 * keys, and the ALPN name below, whose last part is the version. Frames go both ways: a byte that
 * says what it is, two bytes of length, the body. Numbers are in network order; a frame of an
 * unknown kind is skipped.
 *
 *     device                                   relay
 *     TICKET text                        ->                            first of all, and to renew
 *                                        <-    WELCOME keepalive_s:2
 *                                        <-    DIAL slot:4 secret:16 family:1 client relay
 *     a TCP connection to the data address:
 *     "LYD1" slot:4 secret:16            ->                            and then the client's bytes
 *     DECLINE slot:4                     ->                            instead, when it cannot
 *                                        <-    GOODBYE reason:1        the connection ends
 *
 * `client` and `relay` in DIAL are an address (4 or 16 bytes, by family 4 or 6) and a port (2
 * bytes): of the client, and of the relay's end of its connection. */
#ifndef LANYARD_NET_RELAYFRAME_H
#define LANYARD_NET_RELAYFRAME_H

#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/span.h"
#include "common/net/addr.h"

#define RELAYFRAME_ALPN "lanyard-relay/1"
#define RELAYFRAME_HEAD_LEN 3
#define RELAYFRAME_BODY_MAX 512
#define RELAYFRAME_MAX (RELAYFRAME_HEAD_LEN + RELAYFRAME_BODY_MAX)
#define RELAYFRAME_SECRET_LEN 16 /* bytes: 128 random bits, good for one connection */
#define RELAYFRAME_DATA_LEN 24   /* bytes at the start of a data connection */

enum relayframe_kind {
    RELAYFRAME_TICKET = 1,
    RELAYFRAME_DECLINE = 2,
    RELAYFRAME_WELCOME = 0x81,
    RELAYFRAME_GOODBYE = 0x82,
    RELAYFRAME_DIAL = 0x83,
};

enum relayframe_reason {
    RELAYFRAME_TICKET_BAD = 1, /* not for this relay, or not for this device */
    RELAYFRAME_TICKET_OLD = 2,
    RELAYFRAME_FULL = 3,
    RELAYFRAME_STOPPING = 4,
    RELAYFRAME_REPLACED = 5, /* the same device connected again */
    RELAYFRAME_PROTOCOL = 6, /* what came was no frame, or came too late */
};

struct relayframe {
    uint8_t kind;
    struct span body;
};

/* Which connection is meant, and what proves that the device was told. */
struct relayframe_key {
    uint32_t slot;
    uint8_t secret[RELAYFRAME_SECRET_LEN];
};

struct relayframe_dial {
    struct relayframe_key key;
    struct addr client, relay; /* of one family */
};

/* Takes the first frame off *in: its body points into *in. Errors: ERR_AGAIN (not all here),
 * ERR_LIMIT (a body that is too long); *in is then untouched. */
NODISCARD enum err relayframe_take(struct relayframe *out, struct span *in);

/* Each writes one frame and returns its length. `body_len` is at most RELAYFRAME_BODY_MAX. */
size_t relayframe_write(uint8_t out[RELAYFRAME_MAX], enum relayframe_kind kind, const void *body,
                        size_t body_len);
size_t relayframe_write_welcome(uint8_t out[RELAYFRAME_MAX], uint16_t keepalive_s);
size_t relayframe_write_goodbye(uint8_t out[RELAYFRAME_MAX], enum relayframe_reason reason);
size_t relayframe_write_decline(uint8_t out[RELAYFRAME_MAX], uint32_t slot);
size_t relayframe_write_dial(uint8_t out[RELAYFRAME_MAX], const struct relayframe_dial *dial);

/* Each reads the body of a frame of its kind. Errors: ERR_INVALID. */
NODISCARD enum err relayframe_read_welcome(uint16_t *keepalive_s, struct span body);
NODISCARD enum err relayframe_read_goodbye(uint8_t *reason, struct span body);
NODISCARD enum err relayframe_read_decline(uint32_t *slot, struct span body);
NODISCARD enum err relayframe_read_dial(struct relayframe_dial *out, struct span body);

/* The start of a data connection. Errors: ERR_INVALID. */
void relayframe_write_data(uint8_t out[RELAYFRAME_DATA_LEN], const struct relayframe_key *key);
NODISCARD enum err relayframe_read_data(struct relayframe_key *out,
                                        const uint8_t in[RELAYFRAME_DATA_LEN]);

/* A word for a reason, for people. */
const char *relayframe_reason_text(uint8_t reason);

#endif
