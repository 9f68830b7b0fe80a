#include "dnsd/conn.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/secret.h"
#include "common/net/addr.h"

static void list_add(struct conn_list *l, struct conn *c, enum conn_kind kind)
{
    c->links[kind] = (struct conn_link){ .prev = l->newest };
    if (l->newest != NULL)
        l->newest->links[kind].next = c;
    else
        l->oldest = c;
    l->newest = c;
    l->n++;
}

static void list_remove(struct conn_list *l, struct conn *c, enum conn_kind kind)
{
    const struct conn_link *link = &c->links[kind];
    if (link->prev != NULL)
        link->prev->links[kind].next = link->next;
    else
        l->oldest = link->next;
    if (link->next != NULL)
        link->next->links[kind].prev = link->prev;
    else
        l->newest = link->prev;
    l->n--;
}

enum err conn_table_init(struct conn_table *t, unsigned max, unsigned client_max)
{
    memset(t, 0, sizeof *t);
    t->max = max;
    t->client_max = client_max;
    secret_random(t->key, sizeof t->key);
    t->slots = calloc(max, sizeof *t->slots);
    if (t->slots == NULL)
        return ERR_NOMEM;
    for (unsigned i = max; i-- > 0;) {
        t->slots[i] = (struct conn){ .channel.fd = -1, .slot = i };
        t->slots[i].links[CONN_ALL].next = t->free;
        t->free = &t->slots[i];
    }
    return ERR_OK;
}

void conn_table_clear(struct conn_table *t)
{
    while (t->all.oldest != NULL)
        conn_close(t, t->all.oldest);
    free(t->slots);
    t->slots = NULL;
}

static uint64_t mix(uint64_t h, uint64_t x)
{
    h = (h ^ x) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 29;
}

/* The class of an IPv4 address or an IPv6 /64. */
static unsigned client_of(const struct conn_table *t, const struct sockaddr *peer)
{
    uint64_t net = 0;
    if (peer->sa_family == AF_INET6)
        memcpy(&net, &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr, sizeof net);
    else if (peer->sa_family == AF_INET)
        net = ((const struct sockaddr_in *)(const void *)peer)->sin_addr.s_addr;
    return (unsigned)(mix(mix(mix(t->key[0], net), t->key[1]), peer->sa_family) >> 32) %
           CONN_CLIENTS;
}

struct conn *conn_victim(const struct conn_table *t, const struct sockaddr *peer)
{
    const struct conn_list *same = &t->clients[client_of(t, peer)];
    if (same->n >= t->client_max)
        return same->oldest;
    return t->free == NULL ? t->all.oldest : NULL;
}

struct conn *conn_add(struct conn_table *t, const struct channel *channel,
                      const struct sockaddr *peer, int64_t now_ms)
{
    struct conn *c = t->free;
    t->free = c->links[CONN_ALL].next;
    *c = (struct conn){ .channel = *channel,
                        .slot = c->slot,
                        .generation = c->generation + 1,
                        .client = client_of(t, peer),
                        .active_ms = now_ms };
    struct span ip = addr_ip(peer);
    c->ip_len = (uint8_t)ip.len;
    memcpy(c->ip, ip.p, ip.len);
    list_add(&t->all, c, CONN_ALL);
    list_add(&t->clients[c->client], c, CONN_CLIENT);
    if (!channel->ready) {
        list_add(&t->greeting, c, CONN_GREETING);
        c->greeting = true;
    }
    return c;
}

void conn_greeted(struct conn_table *t, struct conn *c)
{
    if (c->greeting)
        list_remove(&t->greeting, c, CONN_GREETING);
    c->greeting = false;
}

void conn_close(struct conn_table *t, struct conn *c)
{
    conn_greeted(t, c);
    list_remove(&t->all, c, CONN_ALL);
    list_remove(&t->clients[c->client], c, CONN_CLIENT);
    channel_close(&c->channel);
    free(c->in);
    free(c->out);
    c->in = c->out = NULL;
    c->generation++;
    c->links[CONN_ALL].next = t->free;
    t->free = c;
}

void conn_touch(struct conn_table *t, struct conn *c, int64_t now_ms)
{
    c->active_ms = now_ms;
    list_remove(&t->all, c, CONN_ALL);
    list_add(&t->all, c, CONN_ALL);
    list_remove(&t->clients[c->client], c, CONN_CLIENT);
    list_add(&t->clients[c->client], c, CONN_CLIENT);
}

struct conn *conn_find(const struct conn_table *t, uint32_t slot, uint32_t generation)
{
    struct conn *c = &t->slots[slot];
    return c->channel.fd >= 0 && c->generation == generation ? c : NULL;
}
