#include "common/dns/name.h"

#include <stdio.h>
#include <string.h>

/* Eight bytes at a time; length bytes are at most 63, below 'A', so the whole name is done alike.
 */
static void lower(uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i += 8) {
        uint64_t x;
        memcpy(&x, p + i, 8);
        uint64_t low7 = x & 0x7f7f7f7f7f7f7f7fu;
        uint64_t from_a = low7 + 0x3f3f3f3f3f3f3f3fu;  /* high bit where low7 >= 'A' */
        uint64_t above_z = low7 + 0x2525252525252525u; /* high bit where low7 > 'Z' */
        uint64_t upper = (from_a & ~above_z & ~x) & 0x8080808080808080u;
        x |= upper >> 2;
        memcpy(p + i, &x, 8);
    }
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
    memcpy(out->wire, wire.p, pos + 1);
    lower(out->wire, pos + 1);
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

bool name_is_within(const struct name *n, const struct name *parent)
{
    return n->n_labels >= parent->n_labels &&
           span_equal(name_suffix(n, parent->n_labels), (struct span){ parent->wire, parent->len });
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
