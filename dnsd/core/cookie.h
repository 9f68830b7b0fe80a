/* cookie.h - DNS cookies in the form that all servers of a zone can share: whoever sends one back
 * has been at its address. Pure; no allocation. [RFC 7873, RFC 9018] */
#ifndef LANYARD_DNSD_CORE_COOKIE_H
#define LANYARD_DNSD_CORE_COOKIE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/siphash.h"
#include "common/base/span.h"

#define COOKIE_CLIENT_LEN 8
#define COOKIE_SERVER_LEN 16 /* ours; others make 8 to 32 bytes */
#define COOKIE_LEN (COOKIE_CLIENT_LEN + COOKIE_SERVER_LEN)
#define COOKIE_LEN_MAX 40
#define COOKIE_KEYS_MAX 2

/* The first key makes cookies, all are accepted, so that they can be changed without a gap. */
struct cookie_keys {
    unsigned n; /* 0 is no cookies at all */
    uint8_t key[COOKIE_KEYS_MAX][SIPHASH_KEY_LEN];
};

/* Whether the data of a COOKIE option can have `len` bytes [RFC 7873 s5.2.2]. */
static inline bool cookie_len_is_good(size_t len)
{
    return len == COOKIE_CLIENT_LEN || (len >= COOKIE_CLIENT_LEN + 8 && len <= COOKIE_LEN_MAX);
}

/* Whether `option`, of a good length, has a server cookie of ours for the client at `ip` (4 or 16
 * bytes), made at most an hour before `now_s` or five minutes after it [RFC 9018 s4.3]. */
bool cookie_is_valid(const struct cookie_keys *keys, struct span option, struct span ip,
                     int64_t now_s);

/* Writes what the reply's option holds: the client's part of `option`, and its server cookie. One
 * that is `valid` and not older than half an hour is given back as it is. */
void cookie_make(uint8_t out[COOKIE_LEN], const struct cookie_keys *keys, struct span option,
                 struct span ip, int64_t now_s, bool valid);

#endif
