#include "dnsd/core/cookie.h"

#include <string.h>

#include "common/base/secret.h"
#include "common/dns/wire.h"

#define VERSION 1
#define TIME_AT (COOKIE_CLIENT_LEN + 4) /* after version and three reserved bytes */
#define HASH_AT (TIME_AT + 4)
#define IP_LEN_MAX 16
#define AGE_MAX_S 3600
#define AHEAD_MAX_S 300
#define RENEW_AGE_S 1800

/* The hash over everything before it, and the address [RFC 9018 s4.4]. */
static void hash(uint8_t out[SIPHASH_LEN], const uint8_t key[SIPHASH_KEY_LEN],
                 const uint8_t *cookie, struct span ip)
{
    uint8_t text[HASH_AT + IP_LEN_MAX];
    memcpy(text, cookie, HASH_AT);
    memcpy(text + HASH_AT, ip.p, ip.len);
    siphash_bytes(out, key, text, HASH_AT + ip.len);
}

/* Seconds since the cookie was made, by serial number arithmetic: the field wraps in 2106. */
static int32_t age_s(const uint8_t *cookie, int64_t now_s)
{
    uint32_t at = (uint32_t)wire_load16(cookie + TIME_AT) << 16 | wire_load16(cookie + TIME_AT + 2);
    return (int32_t)((uint32_t)now_s - at);
}

bool cookie_is_valid(const struct cookie_keys *keys, struct span option, struct span ip,
                     int64_t now_s)
{
    if (option.len != COOKIE_LEN || option.p[COOKIE_CLIENT_LEN] != VERSION)
        return false;
    int32_t age = age_s(option.p, now_s);
    if (age > AGE_MAX_S || age < -AHEAD_MAX_S)
        return false;
    for (unsigned i = 0; i < keys->n; i++) {
        uint8_t want[SIPHASH_LEN];
        hash(want, keys->key[i], option.p, ip);
        if (secret_equal(want, option.p + HASH_AT, SIPHASH_LEN))
            return true;
    }
    return false;
}

void cookie_make(uint8_t out[COOKIE_LEN], const struct cookie_keys *keys, struct span option,
                 struct span ip, int64_t now_s, bool valid)
{
    if (valid && age_s(option.p, now_s) <= RENEW_AGE_S && age_s(option.p, now_s) >= 0) {
        memcpy(out, option.p, COOKIE_LEN);
        return;
    }
    memcpy(out, option.p, COOKIE_CLIENT_LEN);
    memcpy(out + COOKIE_CLIENT_LEN, "\1\0\0", 4);
    wire_store32(out + TIME_AT, (uint32_t)now_s);
    hash(out + HASH_AT, keys->key[0], out, ip);
}
