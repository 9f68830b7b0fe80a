/* conn.h - the table of connections: slots, age, and how many each client has. No input or output
 * but close(). One thread. */
#ifndef LANYARD_DNSD_CONN_H
#define LANYARD_DNSD_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "dnsd/channel.h"

/* Clients are counted in this many classes: two clients share one rarely, and nobody can choose to,
 * since the hash has a random key. */
#define CONN_CLIENTS 4096

/* The lists that a connection may be in, each ordered by active_ms. */
enum conn_kind {
    CONN_ALL,
    CONN_CLIENT,   /* those of one client */
    CONN_GREETING, /* those whose handshake is not done */
    CONN_KINDS
};

struct conn;

/* Neighbours in a list. */
struct conn_link {
    struct conn *prev, *next;
};

struct conn_list {
    struct conn *oldest, *newest;
    unsigned n;
};

struct conn {
    struct channel channel; /* its fd is -1 in a free slot */
    uint32_t slot;
    uint32_t generation; /* counts the uses of the slot */
    unsigned client;     /* class of the peer */
    uint8_t ip[16];      /* the peer's address */
    uint8_t ip_len;      /* 4 or 16 */
    int64_t active_ms;   /* monotonic: accepted, last whole question, or replies all taken */
    struct conn_link links[CONN_KINDS];
    uint8_t *in; /* bytes of questions not yet answered; NULL for none */
    size_t in_len;
    uint8_t *out; /* replies that the peer did not take yet; NULL for none */
    size_t out_len, out_pos;
    unsigned n_deferred; /* questions with the reader */
    uint32_t events;     /* what epoll watches for */
    bool greeting;       /* in the list of those */
    bool ended;          /* the peer sends no more */
};

struct conn_table {
    unsigned max, client_max;
    uint64_t key[2]; /* random, of the hash */
    struct conn *slots;
    struct conn *free; /* a list by links[CONN_ALL].next */
    struct conn_list all, greeting;
    struct conn_list clients[CONN_CLIENTS];
};

NODISCARD enum err conn_table_init(struct conn_table *t, unsigned max, unsigned client_max);

/* Closes every connection. */
void conn_table_clear(struct conn_table *t);

/* The connection that has to go before one from `peer` may come: the oldest of that client, or of
 * all; NULL when there is room. */
struct conn *conn_victim(const struct conn_table *t, const struct sockaddr *peer);

/* Puts an open channel into a slot, for which there is room, and takes it over. */
struct conn *conn_add(struct conn_table *t, const struct channel *channel,
                      const struct sockaddr *peer, int64_t now_ms);

/* Its handshake is done: the channel is ready. */
void conn_greeted(struct conn_table *t, struct conn *c);

/* Closes the connection and frees its slot. */
void conn_close(struct conn_table *t, struct conn *c);

/* Makes it the youngest. */
void conn_touch(struct conn_table *t, struct conn *c, int64_t now_ms);

/* The connection in `slot`, or NULL when its generation is another by now. */
struct conn *conn_find(const struct conn_table *t, uint32_t slot, uint32_t generation);

#endif
