#include "dnsd/core/rrl.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define WAYS 4
#define SETS_LOG2 12
#define SETS (1 << SETS_LOG2) /* 16,384 prefixes are known at a time */
#define TOTAL_FACTOR 2
#define V4 (UINT64_C(1) << 56) /* beyond the 56 bits of an IPv6 prefix */

/* What one prefix had in the present second. */
struct entry {
    uint64_t prefix; /* 0 is free, or ::/56, which takes a free one for its own */
    uint32_t at_s;
    uint32_t n_slip; /* answers too many since it was put here */
    uint32_t n_total;
    uint32_t n[RRL_N]; /* by kind */
};

struct rrl {
    uint64_t factor;
    struct entry sets[SETS][WAYS];
};

enum err rrl_new(struct rrl **out, uint64_t seed)
{
    struct rrl *r = calloc(1, sizeof *r);
    if (r == NULL)
        return ERR_NOMEM;
    r->factor = seed | 1;
    *out = r;
    return ERR_OK;
}

void rrl_free(struct rrl *r)
{
    free(r);
}

static uint64_t prefix4(const uint8_t *ip)
{
    uint32_t prefix;
    memcpy(&prefix, ip, sizeof prefix); /* which byte is first does not matter to a hash */
    return V4 | (prefix & htonl(0xffffff00u));
}

static uint64_t prefix6(const uint8_t *ip)
{
    uint64_t prefix = 0;
    for (unsigned i = 0; i < 7; i++)
        prefix = prefix << 8 | ip[i];
    return prefix;
}

uint64_t rrl_prefix(struct span ip)
{
    return ip.len == 4 ? prefix4(ip.p) : ip.len == 16 ? prefix6(ip.p) : 0;
}

/* The entry that a new prefix takes: the one that is not of this second, or else has had the
 * fewest answers. So a flood from very many prefixes does not wash those away that are limited. */
static struct entry *victim(struct entry *set, uint32_t now_s)
{
    struct entry *best = set;
    for (unsigned i = 0; i < WAYS; i++) {
        if (set[i].at_s != now_s)
            return &set[i];
        if (set[i].n_total < best->n_total)
            best = &set[i];
    }
    return best;
}

/* The entry of `prefix` in `set`, its counts those of this second. */
static APART struct entry *enter(struct entry *set, uint64_t prefix, uint32_t now_s)
{
    struct entry *e = set;
    while (e < set + WAYS && e->prefix != prefix)
        e++;
    if (e == set + WAYS)
        e = victim(set, now_s);
    if (e->prefix != prefix || e->at_s != now_s)
        *e = (struct entry){ .prefix = prefix, .at_s = now_s, .n_slip = e->n_slip };
    return e;
}

static bool is_within(const struct rrl_net *net, struct span ip)
{
    if (net->ip_len != ip.len)
        return false;
    unsigned n_whole = net->n_prefix / 8, n_rest = net->n_prefix % 8;
    return memcmp(net->ip, ip.p, n_whole) == 0 &&
           (n_rest == 0 || (net->ip[n_whole] ^ ip.p[n_whole]) >> (8 - n_rest) == 0);
}

/* One answer too many. */
static APART enum rrl_verdict excess(struct entry *e, const struct rrl_policy *p, struct span ip)
{
    for (size_t i = 0; i < p->n_exempt; i++) {
        if (is_within(&p->exempt[i], ip))
            return RRL_ANSWER;
    }
    e->n_slip++;
    return p->slip > 0 && e->n_slip % p->slip == 0 ? RRL_SLIP : RRL_DROP;
}

enum rrl_verdict rrl_count(struct rrl *r, const struct rrl_policy *p, struct span ip,
                           enum rrl_kind kind, int64_t now_s)
{
    uint64_t prefix = ip.len == 4 ? prefix4(ip.p) : prefix6(ip.p);
    /* a random odd factor: nobody can choose prefixes that meet */
    struct entry *e = r->sets[prefix * r->factor >> (64 - SETS_LOG2)];
    if (e->prefix != prefix || e->at_s != (uint32_t)now_s)
        e = enter(e, prefix, (uint32_t)now_s);
    if (e->n[kind] >= p->per_second || e->n_total >= TOTAL_FACTOR * p->per_second)
        return excess(e, p, ip);
    e->n[kind]++;
    e->n_total++;
    return RRL_ANSWER;
}
