/* wire.h - bounds-checked reading and writing of DNS messages. An error is sticky: straight-line
 * code reads or writes everything and asks once at the end. Pure; no allocation. */
#ifndef LANYARD_DNS_WIRE_H
#define LANYARD_DNS_WIRE_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/base/span.h"

/* A cursor over a message. Reads past the end give 0 and set `bad`. */
struct wire_reader {
    struct span msg;
    size_t pos;
    bool bad;
};

/* A cursor over a buffer of `cap` bytes. Writes past it do nothing and set `overflow`. */
struct wire_writer {
    uint8_t *p;
    size_t cap;
    size_t len;
    bool overflow;
};

/* Big-endian numbers at an address that the caller has checked. */
static inline uint16_t wire_load16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline void wire_store16(uint8_t *p, unsigned v)
{
    uint16_t big = htobe16((uint16_t)v);
    memcpy(p, &big, sizeof big);
}

static inline void wire_store32(uint8_t *p, uint32_t v)
{
    uint32_t big = htobe32(v);
    memcpy(p, &big, sizeof big);
}

/* `len` bytes of the message, or NULL (and `bad`) when there are not that many left. */
static inline const uint8_t *wire_get(struct wire_reader *r, size_t len)
{
    if (r->bad || r->msg.len - r->pos < len) {
        r->bad = true;
        return NULL;
    }
    const uint8_t *p = r->msg.p + r->pos;
    r->pos += len;
    return p;
}

static inline uint16_t wire_get16(struct wire_reader *r)
{
    const uint8_t *p = wire_get(r, 2);
    return p == NULL ? 0 : wire_load16(p);
}

static inline uint32_t wire_get32(struct wire_reader *r)
{
    uint32_t high = wire_get16(r);
    return high << 16 | wire_get16(r);
}

/* Passes over a name, compressed or not: a pointer ends it and is not followed. */
void wire_skip_name(struct wire_reader *r);

/* Room for `len` bytes, counted as written; NULL (and `overflow`) when there is none. */
static inline uint8_t *wire_room(struct wire_writer *w, size_t len)
{
    if (w->overflow || w->cap - w->len < len) {
        w->overflow = true;
        return NULL;
    }
    uint8_t *p = w->p + w->len;
    w->len += len;
    return p;
}

static inline void wire_put(struct wire_writer *w, const void *p, size_t len)
{
    uint8_t *room = wire_room(w, len);
    if (room != NULL && len > 0)
        memcpy(room, p, len);
}

static inline void wire_put16(struct wire_writer *w, unsigned v)
{
    uint8_t *room = wire_room(w, 2);
    if (room != NULL)
        wire_store16(room, v);
}

static inline void wire_put32(struct wire_writer *w, uint32_t v)
{
    uint8_t *room = wire_room(w, 4);
    if (room != NULL)
        wire_store32(room, v);
}

#endif
