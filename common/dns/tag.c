#include "common/dns/tag.h"

#include <string.h>

#include "common/base/base32.h"

#define TAG_BYTES 5
#define INPUT_MAX (TAG_ID_LEN + 1 + 16)

/* Value of a hexadecimal digit, 16 for anything else. */
static unsigned hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10u : 16;
}

static bool parse_key(uint8_t out[SIPHASH_KEY_LEN], struct span text)
{
    if (text.len != 2 * SIPHASH_KEY_LEN)
        return false;
    for (unsigned i = 0; i < SIPHASH_KEY_LEN; i++) {
        unsigned high = hex_value(text.p[2 * i]), low = hex_value(text.p[2 * i + 1]);
        if (high > 15 || low > 15)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

enum err tag_keys_parse(struct tag_keys *out, struct span text, unsigned *line,
                        struct err_info *info)
{
    struct tag_keys keys = { .n = 0 };
    enum err e = ERR_OK;
    *line = 0;
    while (e == ERR_OK && text.len > 0) {
        struct span key = span_take_line(&text);
        ++*line;
        if (key.len == 0)
            continue;
        if (keys.n == TAG_KEYS_MAX)
            e = err_set(info, ERR_CONFIG,
                        "more than %d keys: the first makes tags, the second is "
                        "still accepted; remove the oldest",
                        TAG_KEYS_MAX);
        else if (!parse_key(keys.keys[keys.n], key))
            e = err_set(info, ERR_CONFIG,
                        "not a key: write %d hexadecimal digits (openssl rand "
                        "-hex %d makes one)",
                        2 * SIPHASH_KEY_LEN, SIPHASH_KEY_LEN);
        else
            keys.n++;
    }
    if (e == ERR_OK && keys.n == 0) {
        *line = *line > 0 ? *line : 1;
        e = err_set(info, ERR_CONFIG,
                    "no key in it: write %d hexadecimal digits (openssl rand "
                    "-hex %d makes one)",
                    2 * SIPHASH_KEY_LEN, SIPHASH_KEY_LEN);
    }
    if (e == ERR_OK)
        *out = keys;
    explicit_bzero(&keys, sizeof keys);
    return e;
}

/* What a tag is the hash of. Returns its length. */
static size_t put_input(uint8_t out[INPUT_MAX], struct span id, const struct ip *ip)
{
    memcpy(out, id.p, TAG_ID_LEN);
    out[TAG_ID_LEN] = ip->family;
    memcpy(out + TAG_ID_LEN + 1, ip->bytes, sizeof ip->bytes);
    return TAG_ID_LEN + 1 + (ip->family == 4 ? 4 : 16);
}

void tag_make(char out[TAG_LEN + 1], const uint8_t key[SIPHASH_KEY_LEN], struct span id,
              const struct ip *ip)
{
    uint8_t input[INPUT_MAX], hash[SIPHASH_LEN];
    size_t len = put_input(input, id, ip);
    siphash_bytes(hash, key, input, len);
    base32_encode((struct span){ hash, TAG_BYTES }, out);
}

void tag_label(char out[TAG_LABEL_MAX], const struct tag_keys *keys, struct span id,
               const struct ip *ip)
{
    out[0] = 'p';
    tag_make(out + 1, keys->keys[0], id, ip);
    out[TAG_PREFIX_LEN - 1] = '-';
    iplabel_encode(ip, out + TAG_PREFIX_LEN);
}

bool tag_split(struct span label, struct span *rest)
{
    if (label.len <= TAG_PREFIX_LEN || label.p[0] != 'p' || label.p[TAG_PREFIX_LEN - 1] != '-')
        return false;
    *rest = (struct span){ label.p + TAG_PREFIX_LEN, label.len - TAG_PREFIX_LEN };
    return true;
}

bool tag_check(const struct tag_keys *keys, struct span label, struct span id, const struct ip *ip)
{
    uint8_t input[INPUT_MAX];
    size_t len = put_input(input, id, ip);
    uint64_t tag = 0;
    for (unsigned i = 1; i <= TAG_LEN; i++) {
        int v = base32_value(label.p[i]);
        if (v < 0)
            return false;
        tag = tag << 5 | (uint64_t)v;
    }
    bool valid = false;
    for (unsigned i = 0; i < keys->n; i++) {
        /* the lowest byte is the first */
        uint64_t hash = __builtin_bswap64(siphash(keys->keys[i], input, len));
        valid |= hash >> (64 - 8 * TAG_BYTES) == tag;
    }
    return valid;
}
