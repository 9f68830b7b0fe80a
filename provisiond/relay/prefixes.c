#include "provisiond/relay/prefixes.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/base/secret.h"
#include "common/base/siphash.h"
#include "common/net/addr.h"

#define N_BUCKETS 4096
#define RATE_SLOTS 65536
#define WIDE_LEN 6   /* bytes of a /48 */
#define WIDE_MARK 64 /* in the place of a /64's family: no other has that number */

struct entry {
    LIST_ENTRY(entry) bucket;
    struct prefix prefix;
    size_t n;
};
LIST_HEAD(entries, entry);

struct prefixes {
    uint8_t seed[SIPHASH_KEY_LEN];
    struct gcra_table *rate, *wide_rate;
    size_t n_entries;
    struct entries buckets[N_BUCKETS];
};

static struct gcra_rate wide(struct gcra_rate rate)
{
    rate.interval_ms = rate.interval_ms > PREFIX_WIDE ? rate.interval_ms / PREFIX_WIDE : 1;
    rate.burst *= PREFIX_WIDE;
    return rate;
}

enum err prefixes_new(struct prefixes **out, struct gcra_rate rate)
{
    struct prefixes *p = calloc(1, sizeof *p);
    enum err e = p == NULL ? ERR_NOMEM : gcra_table_new(&p->rate, RATE_SLOTS, rate);
    if (e == ERR_OK)
        e = gcra_table_new(&p->wide_rate, RATE_SLOTS, wide(rate));
    if (e != ERR_OK) {
        prefixes_free(p);
        return e;
    }
    secret_random(p->seed, sizeof p->seed);
    *out = p;
    return ERR_OK;
}

void prefixes_free(struct prefixes *p)
{
    if (p == NULL)
        return;
    for (size_t i = 0; i < N_BUCKETS; i++) {
        struct entry *e;
        while ((e = LIST_FIRST(&p->buckets[i])) != NULL) {
            LIST_REMOVE(e, bucket);
            free(e);
        }
    }
    gcra_table_free(p->rate);
    gcra_table_free(p->wide_rate);
    free(p);
}

void prefixes_set_rate(struct prefixes *p, struct gcra_rate rate)
{
    gcra_table_set_rate(p->rate, rate);
    gcra_table_set_rate(p->wide_rate, wide(rate));
}

struct prefix prefix_of(const struct sockaddr *sa)
{
    struct prefix out = { { (uint8_t)sa->sa_family } };
    struct span ip = addr_ip(sa);
    memcpy(out.bytes + 1, ip.p, ip.len < 8 ? ip.len : 8);
    return out;
}

/* The /48 around a /64. False for others, which have nothing around them. */
static bool wide_of(struct prefix *out, const struct prefix *prefix)
{
    *out = (struct prefix){ { WIDE_MARK } };
    memcpy(out->bytes + 1, prefix->bytes + 1, WIDE_LEN);
    return prefix->bytes[0] == AF_INET6;
}

static struct entries *bucket_of(struct prefixes *p, const struct prefix *prefix)
{
    return &p->buckets[siphash(p->seed, prefix->bytes, PREFIX_LEN) & (N_BUCKETS - 1)];
}

static struct entry *find(struct prefixes *p, const struct prefix *prefix)
{
    struct entry *e;
    LIST_FOREACH(e, bucket_of(p, prefix), bucket)
    {
        if (memcmp(&e->prefix, prefix, sizeof *prefix) == 0)
            break;
    }
    return e;
}

static enum err take(struct prefixes *p, struct gcra_table *rate, const struct prefix *prefix,
                     size_t max, int64_t now_ms)
{
    struct entry *e = find(p, prefix);
    struct span key = { prefix->bytes, PREFIX_LEN };
    if ((e != NULL && e->n >= max) || gcra_table_take(rate, key, now_ms) > 0)
        return ERR_LIMIT;
    if (e == NULL) {
        e = calloc(1, sizeof *e);
        if (e == NULL)
            return ERR_NOMEM;
        e->prefix = *prefix;
        LIST_INSERT_HEAD(bucket_of(p, prefix), e, bucket);
        p->n_entries++;
    }
    e->n++;
    return ERR_OK;
}

static void give(struct prefixes *p, const struct prefix *prefix)
{
    struct entry *e = find(p, prefix);
    if (e == NULL || --e->n > 0)
        return;
    LIST_REMOVE(e, bucket);
    p->n_entries--;
    free(e);
}

enum err prefixes_take(struct prefixes *p, const struct prefix *prefix, size_t max, int64_t now_ms)
{
    struct prefix around;
    enum err e = take(p, p->rate, prefix, max, now_ms);
    if (e != ERR_OK || !wide_of(&around, prefix))
        return e;
    e = take(p, p->wide_rate, &around, max * PREFIX_WIDE, now_ms);
    if (e != ERR_OK)
        give(p, prefix);
    return e;
}

void prefixes_give(struct prefixes *p, const struct prefix *prefix)
{
    struct prefix around;
    give(p, prefix);
    if (wide_of(&around, prefix))
        give(p, &around);
}

size_t prefixes_count(const struct prefixes *p)
{
    return p->n_entries;
}
