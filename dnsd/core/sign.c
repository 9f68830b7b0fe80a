#include "dnsd/core/sign.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <openssl/param_build.h>

#include "common/dns/rr.h"
#include "common/dns/wire.h"
#include "dnsd/core/sigcache.h"

#define CONTEXTS 64  /* keys that a signer has ready, a power of two */
#define POINT_LEN 65 /* an uncompressed point with its first byte */
#define DER_MAX 80   /* bytes of a signature as OpenSSL writes it, and more */
#define KEY_FLAGS 257
#define KEY_PROTOCOL 3
#define RR_HEAD 12

struct context {
    uint64_t key_id;
    EVP_PKEY_CTX *ctx;
};

struct signer {
    EVP_MD *sha256;
    EVP_MD_CTX *md;
    struct sigcache *cache;
    unsigned budget;
    unsigned n_spent; /* in the second second_s */
    int64_t second_s;
    struct signer_counts counts;
    struct context contexts[CONTEXTS];
};

/* The public point of `d`. */
static enum err public_point(const BIGNUM *d, uint8_t point[POINT_LEN])
{
    enum err e = ERR_NOMEM;
    EC_GROUP *g = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    EC_POINT *p = g == NULL ? NULL : EC_POINT_new(g);
    if (p == NULL)
        goto out;
    e = ERR_CRYPTO;
    if (BN_is_zero(d) || BN_cmp(d, EC_GROUP_get0_order(g)) >= 0)
        goto out;
    if (EC_POINT_mul(g, p, d, NULL, NULL, NULL) == 1 &&
        EC_POINT_point2oct(g, p, POINT_CONVERSION_UNCOMPRESSED, point, POINT_LEN, NULL) ==
            POINT_LEN)
        e = ERR_OK;
out:
    EC_POINT_free(p);
    EC_GROUP_free(g);
    return e;
}

static enum err make_pkey(EVP_PKEY **out, const BIGNUM *d, const uint8_t point[POINT_LEN])
{
    enum err e = ERR_NOMEM;
    OSSL_PARAM *params = NULL;
    EVP_PKEY_CTX *ctx = NULL;
    OSSL_PARAM_BLD *b = OSSL_PARAM_BLD_new();
    if (b == NULL ||
        OSSL_PARAM_BLD_push_utf8_string(b, OSSL_PKEY_PARAM_GROUP_NAME, SN_X9_62_prime256v1, 0) !=
            1 ||
        OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_PRIV_KEY, d) != 1 ||
        OSSL_PARAM_BLD_push_octet_string(b, OSSL_PKEY_PARAM_PUB_KEY, point, POINT_LEN) != 1 ||
        (params = OSSL_PARAM_BLD_to_param(b)) == NULL ||
        (ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL)) == NULL)
        goto out;
    e = EVP_PKEY_fromdata_init(ctx) == 1 &&
                EVP_PKEY_fromdata(ctx, out, EVP_PKEY_KEYPAIR, params) == 1
            ? ERR_OK
            : ERR_CRYPTO;
out:
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(b);
    return e;
}

/* [RFC 4034 appendix B] */
static uint16_t key_tag(const uint8_t *dnskey, size_t len)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < len; i++)
        sum += (i & 1) != 0 ? dnskey[i] : (uint32_t)dnskey[i] << 8;
    return (uint16_t)(sum + (sum >> 16));
}

enum err sign_key_init(struct sign_key *k, const uint8_t secret[SIGN_SECRET_LEN])
{
    uint8_t point[POINT_LEN];
    EVP_PKEY *pkey = NULL;
    BIGNUM *d = BN_bin2bn(secret, SIGN_SECRET_LEN, NULL);
    enum err e = d == NULL ? ERR_NOMEM : public_point(d, point);
    if (e == ERR_OK)
        e = make_pkey(&pkey, d, point);
    BN_clear_free(d);
    if (e != ERR_OK)
        return e;
    k->pkey = pkey;
    wire_store16(k->dnskey, KEY_FLAGS);
    k->dnskey[2] = KEY_PROTOCOL;
    k->dnskey[3] = SIGN_ALGORITHM;
    memcpy(k->dnskey + 4, point + 1, POINT_LEN - 1);
    memcpy(&k->id, point + 1, sizeof k->id);
    k->tag = key_tag(k->dnskey, sizeof k->dnskey);
    return ERR_OK;
}

void sign_key_clear(struct sign_key *k)
{
    EVP_PKEY_free(k->pkey);
    k->pkey = NULL;
}

struct sign_times sign_times(const struct sign_set *set, int64_t now_s)
{
    int64_t shift = (name_hash(set->owner) ^ set->type * 0x9e3779b9u) % SIGN_PERIOD_S;
    int64_t begin_s = now_s - (now_s + shift) % SIGN_PERIOD_S;
    return (struct sign_times){ begin_s - SIGN_EARLY_S, begin_s + SIGN_PERIOD_S,
                                begin_s + 2 * SIGN_PERIOD_S };
}

enum err signer_new(struct signer **out, size_t n_kept)
{
    struct signer *s = calloc(1, sizeof *s);
    if (s == NULL)
        return ERR_NOMEM;
    s->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    s->md = EVP_MD_CTX_new();
    enum err e = ERR_OK;
    if (s->sha256 == NULL || s->md == NULL)
        e = ERR_CRYPTO;
    else if (n_kept > 0)
        e = sigcache_new(&s->cache, n_kept);
    if (e != ERR_OK) {
        signer_free(s);
        return e;
    }
    *out = s;
    return ERR_OK;
}

void signer_free(struct signer *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < CONTEXTS; i++)
        EVP_PKEY_CTX_free(s->contexts[i].ctx);
    sigcache_free(s->cache);
    EVP_MD_CTX_free(s->md);
    EVP_MD_free(s->sha256);
    free(s);
}

void signer_limit(struct signer *s, unsigned budget)
{
    s->budget = budget;
}

const struct signer_counts *signer_counts(const struct signer *s)
{
    return &s->counts;
}

/* The context of `key`, made when it is first signed with. */
static EVP_PKEY_CTX *context_of(struct signer *s, const struct sign_key *key)
{
    struct context *c = &s->contexts[key->id % CONTEXTS];
    if (c->ctx != NULL && c->key_id == key->id)
        return c->ctx;
    EVP_PKEY_CTX_free(c->ctx);
    c->key_id = key->id;
    c->ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key->pkey, NULL);
    if (c->ctx != NULL && EVP_PKEY_sign_init(c->ctx) != 1) {
        EVP_PKEY_CTX_free(c->ctx);
        c->ctx = NULL;
    }
    return c->ctx;
}

/* Digests the head of the RRSIG data with the signer's name, and the records. [RFC 4034 s3.1.8.1]
 */
static enum err digest(struct signer *s, struct span head, const struct sign_set *set,
                       uint8_t out[SIGCACHE_DIGEST_LEN])
{
    uint8_t fixed[8];
    wire_store16(fixed, set->type);
    wire_store16(fixed + 2, RR_CLASS_IN);
    wire_store32(fixed + 4, set->ttl_s);
    int ok = EVP_DigestInit_ex(s->md, s->sha256, NULL) & EVP_DigestUpdate(s->md, head.p, head.len);
    for (size_t at = 0; ok == 1 && at < set->rrs.len;) {
        const uint8_t *p = set->rrs.p + at;
        if (set->rrs.len - at < RR_HEAD ||
            set->rrs.len - at - RR_HEAD < (size_t)wire_load16(p + RR_HEAD - 2))
            return ERR_INVALID;
        size_t len = wire_load16(p + RR_HEAD - 2);
        ok &= EVP_DigestUpdate(s->md, set->owner.p, set->owner.len);
        ok &= EVP_DigestUpdate(s->md, fixed, sizeof fixed);
        ok &= EVP_DigestUpdate(s->md, p + RR_HEAD - 2, 2 + len);
        at += RR_HEAD + len;
    }
    ok = ok == 1 && EVP_DigestFinal_ex(s->md, out, NULL) == 1;
    return ok == 1 ? ERR_OK : ERR_CRYPTO;
}

/* One number of a DER signature as 32 bytes. False when it is not one. */
static bool read_number(struct wire_reader *r, uint8_t out[SIGN_SIG_LEN / 2])
{
    const uint8_t *head = wire_get(r, 2);
    const uint8_t *p = head == NULL || head[0] != 2 ? NULL : wire_get(r, head[1]);
    size_t len = p == NULL ? 0 : head[1];
    while (len > SIGN_SIG_LEN / 2 && *p == 0) {
        p++;
        len--;
    }
    if (len == 0 || len > SIGN_SIG_LEN / 2)
        return false;
    memset(out, 0, SIGN_SIG_LEN / 2 - len);
    memcpy(out + SIGN_SIG_LEN / 2 - len, p, len);
    return true;
}

static enum err make_signature(struct signer *s, const struct sign_key *key,
                               const uint8_t hash[SIGCACHE_DIGEST_LEN], uint8_t out[SIGN_SIG_LEN])
{
    uint8_t der[DER_MAX];
    size_t len = sizeof der;
    EVP_PKEY_CTX *ctx = context_of(s, key);
    if (ctx == NULL || EVP_PKEY_sign(ctx, der, &len, hash, SIGCACHE_DIGEST_LEN) != 1)
        return ERR_CRYPTO;
    struct wire_reader r = { .msg = { der, len } };
    const uint8_t *head = wire_get(&r, 2); /* a sequence of less than 128 bytes */
    return head != NULL && head[0] == 0x30 && read_number(&r, out) &&
                   read_number(&r, out + SIGN_SIG_LEN / 2)
               ? ERR_OK
               : ERR_CRYPTO;
}

/* Whether another signature may be made in this second. */
static bool may_sign(struct signer *s, int64_t now_s)
{
    if (s->budget == 0)
        return true;
    if (now_s != s->second_s) {
        s->second_s = now_s;
        s->n_spent = 0;
    }
    return s->n_spent < s->budget && ++s->n_spent > 0;
}

enum err signer_sign(struct signer *s, const struct sign_key *key, const struct name *apex,
                     const struct sign_set *set, int64_t now_s, uint8_t out[SIGN_RRSIG_MAX],
                     size_t *len)
{
    if (now_s < SIGN_CLOCK_MIN)
        return ERR_RANGE;
    struct sign_times t = sign_times(set, now_s);
    wire_store16(out, set->type);
    out[2] = SIGN_ALGORITHM;
    out[3] = (uint8_t)set->n_labels;
    wire_store32(out + 4, set->ttl_s);
    wire_store32(out + 8, (uint32_t)t.until_s);
    wire_store32(out + 12, (uint32_t)t.from_s);
    wire_store16(out + 16, key->tag);
    memcpy(out + SIGN_RRSIG_HEAD, apex->wire, apex->len);
    size_t head_len = SIGN_RRSIG_HEAD + (size_t)apex->len;
    uint8_t hash[SIGCACHE_DIGEST_LEN];
    enum err e = digest(s, (struct span){ out, head_len }, set, hash);
    if (e != ERR_OK)
        return e;
    /* two keys may have one tag: each has entries of its own */
    uint8_t place[SIGCACHE_DIGEST_LEN];
    memcpy(place, hash, sizeof place);
    for (size_t i = 0; i < sizeof key->id; i++)
        place[i] ^= (uint8_t)(key->id >> 8 * i);
    const uint8_t *kept = s->cache == NULL ? NULL : sigcache_get(s->cache, place);
    *len = head_len + SIGN_SIG_LEN;
    if (kept != NULL) {
        memcpy(out + head_len, kept, SIGN_SIG_LEN);
        metric_add(&s->counts.cached, 1);
        return ERR_OK;
    }
    if (!may_sign(s, now_s)) {
        metric_add(&s->counts.refused, 1);
        return ERR_LIMIT;
    }
    e = make_signature(s, key, hash, out + head_len);
    if (e != ERR_OK)
        return e;
    metric_add(&s->counts.made, 1);
    if (s->cache != NULL)
        sigcache_put(s->cache, place, out + head_len);
    return ERR_OK;
}
