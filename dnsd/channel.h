/* channel.h - the bytes of one connection, as they are or under TLS. Nothing here blocks: what has
 * to wait says so. One thread. */
#ifndef LANYARD_DNSD_CHANNEL_H
#define LANYARD_DNSD_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

#include "common/base/attr.h"
#include "common/base/err.h"

struct channel {
    int fd;         /* -1 when closed */
    SSL *ssl;       /* NULL: plain */
    bool ready;     /* bytes may flow: there is nothing (left) to shake hands about */
    bool wants_out; /* TLS has to write before it can go on */
    bool unread;    /* channel_read() may give more, or tells the end, without the socket */
};

enum channel_result {
    CHANNEL_OK,
    CHANNEL_WAIT, /* for the socket: to be readable, or, with wants_out, writable */
    CHANNEL_END,  /* the peer sends no more */
    CHANNEL_GONE  /* broken: to be closed */
};

/* Takes the non-blocking socket `fd` over, whatever the result. `tls` NULL is plain. Errors:
 * ERR_NOMEM. */
NODISCARD enum err channel_open(struct channel *c, int fd, SSL_CTX *tls);

/* Says goodbye where the peer still listens, and closes the socket. */
void channel_close(struct channel *c);

/* Goes on with the handshake; CHANNEL_OK sets `ready`. */
NODISCARD enum channel_result channel_greet(struct channel *c);

/* Up to `cap` bytes into `p`; *len, at least 1, with CHANNEL_OK. Sets `unread` when TLS holds whole
 * records, or knows of the end: the socket will not be readable for them. */
NODISCARD enum channel_result channel_read(struct channel *c, uint8_t *p, size_t cap, size_t *len);

/* Sends what fits of `len` bytes; *sent, at least 1, with CHANNEL_OK. After CHANNEL_WAIT the same
 * bytes come first in the next call, with or without others behind them. */
NODISCARD enum channel_result channel_write(struct channel *c, const uint8_t *p, size_t len,
                                            size_t *sent);

#endif
