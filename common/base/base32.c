#include "common/base/base32.h"

static const char ALPHABET[] = "abcdefghijklmnopqrstuvwxyz234567";

void base32_encode(struct span in, char *out)
{
    uint32_t acc = 0;
    unsigned bits = 0;
    for (size_t i = 0; i < in.len; i++) {
        acc = acc << 8 | in.p[i];
        bits += 8;
        while (bits >= 5) {
            bits -= 5;
            *out++ = ALPHABET[acc >> bits & 31];
        }
    }
    if (bits > 0)
        *out++ = ALPHABET[acc << (5 - bits) & 31];
    *out = 0;
}

int base32_value(uint8_t c)
{
    if (c >= 'a' && c <= 'z')
        return c - 'a';
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= '2' && c <= '7')
        return c - '2' + 26;
    return -1;
}

enum err base32_decode(struct span text, uint8_t *out, size_t cap, size_t *len)
{
    size_t n = text.len * 5 / 8;
    if (n > cap)
        return ERR_LIMIT;
    if (BASE32_LEN(n) != text.len)
        return ERR_INVALID;
    uint32_t acc = 0;
    unsigned bits = 0;
    size_t at = 0;
    for (size_t i = 0; i < text.len; i++) {
        int v = base32_value(text.p[i]);
        if (v < 0)
            return ERR_INVALID;
        acc = acc << 5 | (uint32_t)v;
        bits += 5;
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
