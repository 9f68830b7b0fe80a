#include "common/dns/name.h"

#include <stdio.h>
#include <string.h>

#define BLOCK 16

/* A block in lower case; length bytes are at most 63, below 'A', so the whole name is done alike.
 * No branch and a fixed number of rounds: compilers make it a few vector instructions. */
static inline void lower_block(uint8_t *out, const uint8_t *in)
{
    uint8_t b[BLOCK];
    memcpy(b, in, BLOCK);
    for (unsigned i = 0; i < BLOCK; i++)
        b[i] = (uint8_t)(b[i] | ((uint8_t)(b[i] - 'A') < 26 ? 0x20 : 0));
    memcpy(out, b, BLOCK);
}

/* Copies `len` bytes of a name in lower case. `out` has room for whole blocks; `in` is not read
 * past `len`: the last block overlaps the one before. */
static inline void copy_lower(uint8_t *out, const uint8_t *in, size_t len)
{
    if (len < BLOCK) {
        uint8_t block[BLOCK] = { 0 };
        memcpy(block, in, len);
        lower_block(out, block);
        return;
    }
    size_t last = len - BLOCK;
    for (size_t i = 0; i < last; i += BLOCK)
        lower_block(out + i, in + i);
    lower_block(out + last, in + last);
}

enum err name_read(struct name *out, struct span wire)
{
    size_t pos = 0;
    unsigned n = 0;
    size_t end = wire.len < NAME_WIRE_MAX ? wire.len : NAME_WIRE_MAX;
    for (;;) {
        if (pos >= end)
            return ERR_INVALID;
        uint8_t len = wire.p[pos];
        out->at[n] = (uint8_t)pos; /* 127 labels fill 254 bytes: n stays in range */
        if (len == 0)
            break;
        if (len > NAME_LABEL_MAX)
            return ERR_INVALID;
        pos += 1u + len;
        n++;
    }
    out->len = (uint8_t)(pos + 1);
    out->n_labels = (uint8_t)n;
    copy_lower(out->wire, wire.p, pos + 1);
    return ERR_OK;
}

static bool is_host_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

enum err name_parse(struct name *out, const char *text)
{
    uint8_t wire[NAME_WIRE_MAX + 1];
    size_t len = 0; /* bytes of complete labels */
    if (strcmp(text, ".") == 0)
        text = "";
    while (*text != 0) {
        size_t n = 0;
        while (is_host_char(text[n]))
            n++;
        if (n == 0 || n > NAME_LABEL_MAX || len + 1 + n + 1 > NAME_WIRE_MAX)
            return ERR_INVALID;
        wire[len] = (uint8_t)n;
        memcpy(wire + len + 1, text, n);
        len += 1 + n;
        text += n;
        if (*text == '.')
            text++;
        else if (*text != 0)
            return ERR_INVALID;
    }
    wire[len] = 0;
    return name_read(out, (struct span){ wire, len + 1 });
}

void name_format(const struct name *n, char out[NAME_TEXT_MAX])
{
    size_t len = 0;
    for (unsigned i = 0; i < n->n_labels; i++) {
        struct span label = name_label(n, i);
        if (i > 0)
            out[len++] = '.';
        for (size_t k = 0; k < label.len; k++) {
            uint8_t c = label.p[k];
            if (c > 0x20 && c < 0x7f && strchr(".\\\"();@$", c) == NULL)
                out[len++] = (char)c;
            else
                len += (size_t)snprintf(out + len, NAME_TEXT_MAX - len, "\\%03u", (unsigned)c);
        }
    }
    if (n->n_labels == 0)
        out[len++] = '.';
    out[len] = 0;
}

uint32_t name_hash(struct span wire)
{
    uint64_t h = wire.len;
    size_t i = 0;
    for (; i + 8 <= wire.len; i += 8) {
        uint64_t x;
        memcpy(&x, wire.p + i, 8);
        h = (h ^ x) * 0x9e3779b97f4a7c15u;
        h ^= h >> 32;
    }
    for (; i < wire.len; i++)
        h = (h ^ wire.p[i]) * 0x100000001b3u;
    h *= 0x9e3779b97f4a7c15u;
    return (uint32_t)(h >> 32);
}
