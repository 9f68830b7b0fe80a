#include "common/base/b64url.h"

static const char ALPHABET[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void b64url_encode(struct span in, char *out)
{
    uint32_t acc = 0;
    unsigned bits = 0;
    for (size_t i = 0; i < in.len; i++) {
        acc = acc << 8 | in.p[i];
        bits += 8;
        while (bits >= 6) {
            bits -= 6;
            *out++ = ALPHABET[acc >> bits & 63];
        }
    }
    if (bits > 0)
        *out++ = ALPHABET[acc << (6 - bits) & 63];
    *out = 0;
}

void b64url_append(struct buf *b, struct span in)
{
    /* 48 bytes make 64 characters exactly, so that the pieces join without a seam */
    char piece[65];
    while (in.len > 0) {
        size_t n = in.len < 48 ? in.len : 48;
        b64url_encode((struct span){ in.p, n }, piece);
        buf_add(b, piece, B64URL_LEN(n));
        in.p += n;
        in.len -= n;
    }
}

static int value(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '-')
        return 62;
    if (c == '_')
        return 63;
    return -1;
}

enum err b64url_decode(struct span text, uint8_t *out, size_t cap, size_t *len)
{
    size_t n = text.len * 6 / 8;
    if (n > cap)
        return ERR_LIMIT;
    if (B64URL_LEN(n) != text.len)
        return ERR_INVALID;
    uint32_t acc = 0;
    unsigned bits = 0;
    size_t at = 0;
    for (size_t i = 0; i < text.len; i++) {
        int v = value(text.p[i]);
        if (v < 0)
            return ERR_INVALID;
        acc = acc << 6 | (uint32_t)v;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out[at++] = (uint8_t)(acc >> bits);
        }
    }
    if ((acc & ((1u << bits) - 1)) != 0)
        return ERR_INVALID;
    *len = n;
    return ERR_OK;
}
