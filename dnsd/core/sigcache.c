#include "dnsd/core/sigcache.h"

#include <stdlib.h>
#include <string.h>

#define WAYS 4 /* slots of one bucket */
#define SLOTS_MIN 8
#define SLOTS_MAX (1u << 20)

struct slot {
    uint8_t digest[SIGCACHE_DIGEST_LEN];
    uint8_t sig[SIGCACHE_SIG_LEN];
    uint64_t used; /* the cache's count when it was last used; 0 is free */
};

struct sigcache {
    uint64_t count;
    size_t n_buckets;
    struct slot slots[];
};

enum err sigcache_new(struct sigcache **out, size_t n_slots)
{
    if (n_slots < SLOTS_MIN || n_slots > SLOTS_MAX || (n_slots & (n_slots - 1)) != 0)
        return ERR_RANGE;
    struct sigcache *c = calloc(1, sizeof *c + n_slots * sizeof c->slots[0]);
    if (c == NULL)
        return ERR_NOMEM;
    c->n_buckets = n_slots / WAYS;
    *out = c;
    return ERR_OK;
}

void sigcache_free(struct sigcache *c)
{
    free(c);
}

/* The slots where `digest` may be. Its bytes are as good as random, whatever was asked. */
static struct slot *bucket_of(struct sigcache *c, const uint8_t *digest)
{
    uint32_t h;
    memcpy(&h, digest, sizeof h);
    return &c->slots[(h & (c->n_buckets - 1)) * WAYS];
}

const uint8_t *sigcache_get(struct sigcache *c, const uint8_t digest[SIGCACHE_DIGEST_LEN])
{
    struct slot *b = bucket_of(c, digest);
    for (unsigned i = 0; i < WAYS; i++) {
        if (b[i].used != 0 && memcmp(b[i].digest, digest, SIGCACHE_DIGEST_LEN) == 0) {
            b[i].used = ++c->count;
            return b[i].sig;
        }
    }
    return NULL;
}

void sigcache_put(struct sigcache *c, const uint8_t digest[SIGCACHE_DIGEST_LEN],
                  const uint8_t sig[SIGCACHE_SIG_LEN])
{
    struct slot *b = bucket_of(c, digest);
    struct slot *oldest = b;
    for (unsigned i = 1; i < WAYS; i++) {
        if (b[i].used < oldest->used)
            oldest = &b[i];
    }
    memcpy(oldest->digest, digest, SIGCACHE_DIGEST_LEN);
    memcpy(oldest->sig, sig, SIGCACHE_SIG_LEN);
    oldest->used = ++c->count;
}
