#include "dnsd/core/suspended.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/base32.h"

#define LINE_MAX_LEN 127 /* without its comment: no id or prefix is longer */

static uint64_t load64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* An id is a hash itself, so that little mixing is needed; the seed keeps it unknown where one
 * lands. */
static uint64_t hash_id(uint64_t seed, struct span id)
{
    uint64_t h = seed;
    for (unsigned i = 0; i < SUSPENDED_ID_LEN; i += 8) {
        h = (h ^ load64(id.p + i)) * 0x9e3779b97f4a7c15u;
        h ^= h >> 29;
    }
    return h * 0xbf58476d1ce4e5b9u;
}

/* The entry of `id` in the index, or the free one where it would go. */
static uint64_t *find_entry(const struct suspended *s, struct span id)
{
    uint64_t h = hash_id(s->seed, id);
    size_t mask = s->n_index - 1;
    for (size_t i = (size_t)(h >> 32) & mask;; i = (i + 1) & mask) {
        uint64_t entry = s->index[i];
        if (entry == 0)
            return &s->index[i];
        if ((uint32_t)entry != (uint32_t)h)
            continue;
        uint8_t bytes[SUSPENDED_ID_BYTES];
        size_t len;
        if (base32_decode(id, bytes, sizeof bytes, &len) == ERR_OK &&
            memcmp(bytes, s->ids[(entry >> 32) - 1], sizeof bytes) == 0)
            return &s->index[i];
    }
}

bool suspended_has_id(const struct suspended *s, struct span id)
{
    return s->n_ids > 0 && *find_entry(s, id) != 0;
}

bool suspended_has_ip(const struct suspended *s, const struct ip *ip)
{
    size_t len = ip->family == 4 ? 4 : 16;
    const struct suspended_range *ranges = ip->family == 4 ? s->ranges4 : s->ranges6;
    size_t low = 0, high = ip->family == 4 ? s->n_ranges4 : s->n_ranges6;
    while (low < high) { /* the first range that does not end before the address */
        size_t mid = low + (high - low) / 2;
        if (memcmp(ranges[mid].last, ip->bytes, len) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    size_t n = ip->family == 4 ? s->n_ranges4 : s->n_ranges6;
    return low < n && memcmp(ranges[low].first, ip->bytes, len) <= 0;
}

static enum err add_id(struct suspended *s, struct span text, struct err_info *info)
{
    uint8_t lower[SUSPENDED_ID_LEN];
    size_t len;
    for (unsigned i = 0; i < SUSPENDED_ID_LEN; i++)
        lower[i] = text.p[i] >= 'A' && text.p[i] <= 'Z' ? text.p[i] | 0x20 : text.p[i];
    struct span id = { lower, sizeof lower };
    if (base32_decode(id, s->ids[s->n_ids], SUSPENDED_ID_BYTES, &len) != ERR_OK)
        return err_set(info, ERR_CONFIG, "not a device id: it has characters besides a-z and 2-7");
    uint64_t *entry = find_entry(s, id);
    if (*entry == 0)
        *entry = (uint64_t)++s->n_ids << 32 | (uint32_t)hash_id(s->seed, id);
    return ERR_OK;
}

static enum err add_range(struct suspended_range **ranges, size_t *n,
                          const struct suspended_range *r)
{
    if ((*n & (*n - 1)) == 0) { /* full: the room is a power of two */
        struct suspended_range *p = realloc(*ranges, (*n == 0 ? 1 : 2 * *n) * sizeof *p);
        if (p == NULL)
            return ERR_NOMEM;
        *ranges = p;
    }
    (*ranges)[(*n)++] = *r;
    return ERR_OK;
}

/* The digits after '/' into *bits. */
static bool parse_bits(const char *text, unsigned max, unsigned *bits)
{
    unsigned v = 0;
    size_t n = strlen(text);
    if (n == 0 || n > 3 || (n > 1 && text[0] == '0'))
        return false;
    for (; *text != 0; text++) {
        if (*text < '0' || *text > '9')
            return false;
        v = v * 10 + (unsigned)(*text - '0');
    }
    *bits = v;
    return v <= max;
}

static enum err add_prefix(struct suspended *s, const char *text, struct err_info *info)
{
    char address[LINE_MAX_LEN + 1];
    struct suspended_range r = { .first = { 0 } };
    (void)snprintf(address, sizeof address, "%s", text);
    char *slash = strchr(address, '/');
    if (slash != NULL)
        *slash = 0;
    bool is4 = strchr(address, ':') == NULL;
    unsigned width = is4 ? 32 : 128, bits = width;
    if (inet_pton(is4 ? AF_INET : AF_INET6, address, r.first) != 1)
        return err_set(info, ERR_CONFIG,
                       "'%.60s' is neither a device id (32 characters) nor an address or CIDR "
                       "prefix",
                       text);
    if (slash != NULL && !parse_bits(slash + 1, width, &bits))
        return err_set(info, ERR_CONFIG, "'%.60s': write a prefix length of 0 to %u after '/'",
                       text, width);
    memcpy(r.last, r.first, sizeof r.last);
    for (unsigned i = bits; i < width; i++) {
        uint8_t bit = (uint8_t)(0x80u >> i % 8);
        if ((r.first[i / 8] & bit) != 0)
            return err_set(info, ERR_CONFIG,
                           "'%.60s' has bits after its first %u: write the first address of the "
                           "range, or the prefix length that was meant",
                           text, bits);
        r.last[i / 8] |= bit;
    }
    enum err e =
        is4 ? add_range(&s->ranges4, &s->n_ranges4, &r) : add_range(&s->ranges6, &s->n_ranges6, &r);
    return e == ERR_OK ? e : err_set(info, e, "out of memory");
}

static int by_first(const void *a, const void *b)
{
    const struct suspended_range *x = a, *y = b;
    return memcmp(x->first, y->first, sizeof x->first);
}

/* Sorts the ranges and makes one of those that overlap. Returns how many are left. */
static size_t sort_ranges(struct suspended_range *ranges, size_t n)
{
    size_t kept = 0;
    if (n > 0)
        qsort(ranges, n, sizeof *ranges, by_first);
    for (size_t i = 0; i < n; i++) {
        struct suspended_range *last = kept > 0 ? &ranges[kept - 1] : NULL;
        if (last == NULL || memcmp(ranges[i].first, last->last, sizeof last->last) > 0)
            ranges[kept++] = ranges[i];
        else if (memcmp(ranges[i].last, last->last, sizeof last->last) > 0)
            memcpy(last->last, ranges[i].last, sizeof last->last);
    }
    return kept;
}

static enum err add_line(struct suspended *s, struct span line, struct err_info *info)
{
    char text[LINE_MAX_LEN + 1];
    if (line.len == 0)
        return ERR_OK;
    if (line.len == SUSPENDED_ID_LEN && memchr(line.p, ':', line.len) == NULL)
        return add_id(s, line, info);
    if (line.len > LINE_MAX_LEN || memchr(line.p, 0, line.len) != NULL)
        return err_set(info, ERR_CONFIG,
                       "neither a device id (32 characters) nor an address or CIDR prefix");
    memcpy(text, line.p, line.len);
    text[line.len] = 0;
    return add_prefix(s, text, info);
}

/* Room for as many ids as the text can have. */
static enum err make_room(struct suspended *s, size_t text_len)
{
    size_t max = text_len / (SUSPENDED_ID_LEN + 1) + 1;
    s->n_index = 4;
    while (s->n_index < 2 * max)
        s->n_index *= 2;
    s->ids = malloc(max * sizeof *s->ids);
    s->index = calloc(s->n_index, sizeof *s->index);
    return s->ids == NULL || s->index == NULL ? ERR_NOMEM : ERR_OK;
}

enum err suspended_parse(struct suspended **out, struct span text, uint64_t seed, unsigned *line,
                         struct err_info *info)
{
    *line = 1;
    if (text.len > SUSPENDED_TEXT_MAX)
        return err_set(info, ERR_CONFIG, "the file is larger than %u bytes", SUSPENDED_TEXT_MAX);
    struct suspended *s = calloc(1, sizeof *s);
    if (s == NULL || make_room(s, text.len) != ERR_OK) {
        suspended_free(s);
        return err_set(info, ERR_NOMEM, "out of memory");
    }
    s->seed = seed;
    enum err e = ERR_OK;
    for (unsigned n = 1; e == ERR_OK && text.len > 0; n++) {
        *line = n;
        e = add_line(s, span_take_line(&text), info);
    }
    if (e != ERR_OK) {
        suspended_free(s);
        return e;
    }
    s->n_ranges4 = sort_ranges(s->ranges4, s->n_ranges4);
    s->n_ranges6 = sort_ranges(s->ranges6, s->n_ranges6);
    *out = s;
    return ERR_OK;
}

void suspended_free(struct suspended *s)
{
    if (s == NULL)
        return;
    free(s->ids);
    free(s->index);
    free(s->ranges4);
    free(s->ranges6);
    free(s);
}
