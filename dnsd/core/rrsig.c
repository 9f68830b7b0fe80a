#include "dnsd/core/rrsig.h"

#include <string.h>

#include "common/dns/rr.h"
#include "dnsd/core/zonesign.h"

static uint8_t *put_head(const struct rrsig *s, unsigned type, size_t len)
{
    uint8_t *p = wire_room(s->w, ZONE_RR_HEAD + len);
    if (p == NULL)
        return NULL;
    wire_store16(p, s->pointer);
    wire_store16(p + 2, type);
    wire_store16(p + 4, RR_CLASS_IN);
    wire_store32(p + 6, s->ttl_s);
    wire_store16(p + 10, (unsigned)len);
    return p + ZONE_RR_HEAD;
}

static enum err put_by(const struct rrsig *s, const struct sign_key *key,
                       const struct sign_set *what, uint16_t *n)
{
    uint8_t data[SIGN_RRSIG_MAX];
    size_t len;
    enum err e = signer_sign(s->signer, key, &s->zone->apex, what, s->now_s, data, &len);
    if (e != ERR_OK)
        return e;
    uint8_t *p = put_head(s, RR_RRSIG, len);
    if (p != NULL)
        memcpy(p, data, len);
    (*n)++;
    return ERR_OK;
}

static enum err put_all(const struct rrsig *s, const struct sign_set *what, uint16_t *n)
{
    const struct keyring *ring = s->zone->keyring;
    enum err e = ERR_OK;
    if (s->signer == NULL)
        return ERR_CRYPTO;
    if (!keyring_is_of(ring, s->now_s))
        return ERR_RANGE;
    signer_limit(s->signer, ring->budget);
    for (size_t i = 0; e == ERR_OK && i < ring->n; i++) {
        if (i == ring->active || zonesign_by_all(what->type))
            e = put_by(s, &ring->keys[i].key, what, n);
    }
    return e;
}

static struct sign_set set_of(const struct rrsig *s, unsigned type, uint32_t ttl_s, struct span rrs)
{
    return (struct sign_set){ .owner = { s->owner->wire, s->owner->len },
                              .n_labels = s->owner->n_labels,
                              .type = type,
                              .ttl_s = ttl_s,
                              .rrs = rrs };
}

enum err rrsig_put(const struct rrsig *s, unsigned type, size_t from, uint16_t *n)
{
    if (s->w->overflow) /* not worth a signature */
        return ERR_OK;
    struct sign_set what =
        set_of(s, type, s->ttl_s, (struct span){ s->w->p + from, s->w->len - from });
    return put_all(s, &what, n);
}

enum err rrsig_put_static(const struct rrsig *s, const struct rrset *set, uint16_t *n)
{
    if (s->w->overflow)
        return ERR_OK;
    const struct presig *made = s->ahead->at[set->number];
    if (made == NULL || s->now_s < made->from_s || s->now_s >= made->renew_s) {
        struct sign_set what =
            set_of(s, set->type, set->ttl_s, (struct span){ set->rrs, set->len });
        return put_all(s, &what, n);
    }
    if (!keyring_is_of(s->zone->keyring, s->now_s))
        return ERR_RANGE;
    uint8_t *p = wire_room(s->w, made->len);
    if (p == NULL)
        return ERR_OK;
    memcpy(p, made->rrs, made->len);
    for (size_t at = 0; at < made->len; at += ZONE_RR_HEAD + wire_load16(p + at + 10)) {
        wire_store16(p + at, s->pointer);
        wire_store32(p + at + 6, s->ttl_s);
    }
    *n = (uint16_t)(*n + made->n);
    return ERR_OK;
}

enum err rrsig_put_nsec(const struct rrsig *s, const struct denial *d, bool sign, uint16_t *n)
{
    size_t from = s->w->len;
    (void)put_head(s, RR_NSEC, 0);
    denial_write(s->w, s->owner, &s->zone->apex, d);
    (*n)++;
    if (s->w->overflow)
        return ERR_OK;
    wire_store16(s->w->p + from + 10, (unsigned)(s->w->len - from - ZONE_RR_HEAD));
    return sign ? rrsig_put(s, RR_NSEC, from, n) : ERR_OK;
}

enum err rrsig_put_only(const struct rrsig *s, const struct denial *d, uint16_t *n)
{
    uint16_t n_both = 0;
    size_t from = s->w->len;
    enum err e = rrsig_put_nsec(s, d, true, &n_both);
    if (e != ERR_OK || s->w->overflow)
        return e;
    uint8_t *p = s->w->p + from;
    size_t nsec_len = ZONE_RR_HEAD + (size_t)wire_load16(p + 10);
    s->w->len -= nsec_len;
    memmove(p, p + nsec_len, s->w->len - from);
    (*n)++;
    return ERR_OK;
}
