#include "provisiond/core/relayticket.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "common/base/b64url.h"

#define MAC_LEN 32
#define EXPIRY_DIGITS_MAX 12

static const char PURPOSE[] = "lanyard relay ticket 1";

static int digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_key(uint8_t out[RELAYTICKET_KEY_LEN], struct span line)
{
    if (line.len != 2 * RELAYTICKET_KEY_LEN)
        return false;
    for (size_t i = 0; i < RELAYTICKET_KEY_LEN; i++) {
        int high = digit(line.p[2 * i]), low = digit(line.p[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

enum err relayticket_keys_parse(struct relayticket_keys *out, struct span text,
                                struct err_info *info)
{
    struct relayticket_keys keys = { .n = 0 };
    enum err e = ERR_OK;
    for (unsigned line = 1; e == ERR_OK && text.len > 0; line++) {
        struct span s = span_take_line(&text);
        if (s.len == 0)
            continue;
        if (keys.n == RELAYTICKET_KEYS_MAX)
            e = err_set(info, ERR_CONFIG, "line %u: more than %d keys", line, RELAYTICKET_KEYS_MAX);
        else if (!read_key(keys.keys[keys.n++], s))
            e = err_set(info, ERR_CONFIG,
                        "line %u is not a key of %d hexadecimal digits (openssl rand -hex %d)",
                        line, 2 * RELAYTICKET_KEY_LEN, RELAYTICKET_KEY_LEN);
    }
    if (e == ERR_OK && keys.n == 0)
        e = err_set(info, ERR_CONFIG, "there is no key (openssl rand -hex %d makes one)",
                    RELAYTICKET_KEY_LEN);
    if (e == ERR_OK)
        *out = keys;
    explicit_bzero(&keys, sizeof keys);
    return e;
}

bool relayticket_is_name(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return len > 0 && len <= RELAYTICKET_NAME_MAX && name[len] == 0;
}

/* Every part has one length or one end, so that no two tickets have the same text. */
static bool sign(uint8_t out[MAC_LEN], const uint8_t key[RELAYTICKET_KEY_LEN], const char *name,
                 const struct devid *id, int64_t expires_at)
{
    char text[sizeof PURPOSE + RELAYTICKET_NAME_MAX + DEVID_LEN + 32];
    unsigned len = 0;
    int n = snprintf(text, sizeof text, "%s\n%s\n%s\n%lld", PURPOSE, name, id->text,
                     (long long)expires_at);
    return n > 0 && (size_t)n < sizeof text &&
           HMAC(EVP_sha256(), key, RELAYTICKET_KEY_LEN, (const unsigned char *)text, (size_t)n, out,
                &len) != NULL;
}

enum err relayticket_make(char out[RELAYTICKET_TEXT_MAX], const struct relayticket_keys *keys,
                          const char *name, const struct devid *id, int64_t expires_at)
{
    uint8_t mac[MAC_LEN];
    char text[B64URL_LEN(MAC_LEN) + 1];
    if (!sign(mac, keys->keys[0], name, id, expires_at))
        return ERR_CRYPTO;
    b64url_encode((struct span){ mac, sizeof mac }, text);
    int n = snprintf(out, RELAYTICKET_TEXT_MAX, "%lld.%s", (long long)expires_at, text);
    return n > 0 && n < RELAYTICKET_TEXT_MAX ? ERR_OK : ERR_RANGE;
}

/* "<expiry>." at the start, without a leading zero; returns its length, 0 when it is none. */
static size_t read_expiry(struct span text, int64_t *out)
{
    int64_t at = 0;
    size_t i = 0;
    while (i < text.len && i < EXPIRY_DIGITS_MAX && isdigit(text.p[i]))
        at = at * 10 + (text.p[i++] - '0');
    if (i == 0 || i == text.len || text.p[i] != '.' || text.p[0] == '0')
        return 0;
    *out = at;
    return i + 1;
}

enum err relayticket_check(const struct relayticket_keys *keys, const char *name,
                           const struct devid *id, struct span text, int64_t now_s,
                           int64_t *expires_at)
{
    uint8_t want[MAC_LEN], got[MAC_LEN];
    int64_t at = 0;
    size_t head = read_expiry(text, &at), len = 0;
    bool good = false;
    if (head == 0 ||
        b64url_decode((struct span){ text.p + head, text.len - head }, got, sizeof got, &len) !=
            ERR_OK ||
        len != sizeof got)
        return ERR_INVALID;
    for (unsigned i = 0; i < keys->n; i++)
        good |= sign(want, keys->keys[i], name, id, at) && CRYPTO_memcmp(want, got, MAC_LEN) == 0;
    explicit_bzero(want, sizeof want);
    if (!good)
        return ERR_DENIED;
    if (at <= now_s)
        return ERR_TIMEOUT;
    *expires_at = at;
    return ERR_OK;
}
