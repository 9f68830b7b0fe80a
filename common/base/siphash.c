#include "common/base/siphash.h"

#include <endian.h>
#include <string.h>

struct sip {
    uint64_t v0, v1, v2, v3;
};

static uint64_t load64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return le64toh(v);
}

static uint64_t rotl(uint64_t v, unsigned n)
{
    return v << n | v >> (64 - n);
}

static inline void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = rotl(s->v1, 13) ^ s->v0;
    s->v3 = rotl(s->v3, 16) ^ s->v2;
    s->v0 = rotl(s->v0, 32);
    s->v2 += s->v1;
    s->v0 += s->v3;
    s->v1 = rotl(s->v1, 17) ^ s->v2;
    s->v3 = rotl(s->v3, 21) ^ s->v0;
    s->v2 = rotl(s->v2, 32);
}

static inline void absorb(struct sip *s, uint64_t word)
{
    s->v3 ^= word;
    sip_round(s);
    sip_round(s);
    s->v0 ^= word;
}

BUILT_IN uint64_t siphash(const uint8_t key[SIPHASH_KEY_LEN], const void *p, size_t len)
{
    const uint8_t *at = p;
    uint64_t k0 = load64(key), k1 = load64(key + 8), tail = (uint64_t)len << 56;
    struct sip s = { k0 ^ 0x736f6d6570736575u, k1 ^ 0x646f72616e646f6du, k0 ^ 0x6c7967656e657261u,
                     k1 ^ 0x7465646279746573u };
    for (; len >= 8; at += 8, len -= 8)
        absorb(&s, load64(at));
    for (size_t i = 0; i < len; i++)
        tail |= (uint64_t)at[i] << 8 * i;
    absorb(&s, tail);
    s.v2 ^= 0xff;
    for (unsigned i = 0; i < 4; i++)
        sip_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

void siphash_bytes(uint8_t out[SIPHASH_LEN], const uint8_t key[SIPHASH_KEY_LEN], const void *p,
                   size_t len)
{
    uint64_t h = siphash(key, p, len);
    for (unsigned i = 0; i < SIPHASH_LEN; i++)
        out[i] = (uint8_t)(h >> 8 * i);
}
