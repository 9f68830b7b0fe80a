/* conn.h - the table of TCP connections: slots, age, and how many each client has. No input or
 * output but close(). One thread. */
#ifndef LANYARD_DNSD_CONN_H
#define LANYARD_DNSD_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "common/base/attr.h"
#include "common/base/err.h"

/* Clients are counted in this many classes: two clients share one rarely, and nobody can choose to,
 * since the hash has a random key. */
#define CONN_CLIENTS 4096

struct conn;

/* Neighbours in a list that is ordered by active_ms. */
struct conn_link {
    struct conn *prev, *next;
};

struct conn_list {
    struct conn *oldest, *newest;
    unsigned n;
};

struct conn {
    int fd; /* -1 in a free slot */
    uint32_t slot;
    uint32_t generation; /* counts the uses of the slot */
    unsigned client;     /* class of the peer */
    int64_t active_ms;   /* monotonic: accepted, last whole question, or replies all taken */
    struct conn_link all, same;
    uint8_t *in; /* bytes of questions not yet answered; NULL for none */
    size_t in_len;
    uint8_t *out; /* replies that the peer did not take yet; NULL for none */
    size_t out_len, out_pos;
    unsigned n_deferred; /* questions with the reader */
    uint32_t events;     /* what epoll watches for */
    bool ended;          /* the peer sends no more */
};

struct conn_table {
    unsigned max, client_max;
    uint64_t key[2]; /* random, of the hash */
    struct conn *slots;
    struct conn *free; /* a list by all.next */
    struct conn_list all;
    struct conn_list clients[CONN_CLIENTS];
};

NODISCARD enum err conn_table_init(struct conn_table *t, unsigned max, unsigned client_max);

/* Closes every connection. */
void conn_table_clear(struct conn_table *t);

/* The connection that has to go before one from `peer` may come: the oldest of that client, or of
 * all; NULL when there is room. */
struct conn *conn_victim(const struct conn_table *t, const struct sockaddr *peer);

/* Puts `fd` into a slot, for which there is room. */
struct conn *conn_add(struct conn_table *t, int fd, const struct sockaddr *peer, int64_t now_ms);

/* Closes the connection and frees its slot. */
void conn_close(struct conn_table *t, struct conn *c);

/* Makes it the youngest. */
void conn_touch(struct conn_table *t, struct conn *c, int64_t now_ms);

/* The connection in `slot`, or NULL when its generation is another by now. */
struct conn *conn_find(const struct conn_table *t, uint32_t slot, uint32_t generation);

#endif
