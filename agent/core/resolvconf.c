#include "agent/core/resolvconf.h"

#include <arpa/inet.h>
#include <string.h>

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* The next word of a line; empty at its end. */
static struct span take_word(struct span *line)
{
    size_t from = 0, to;
    while (from < line->len && is_blank(line->p[from]))
        from++;
    for (to = from; to < line->len && !is_blank(line->p[to]);)
        to++;
    struct span word = { line->p + from, to - from };
    *line = (struct span){ line->p + to, line->len - to };
    return word;
}

bool nameserver_parse(struct nameserver *out, struct span word)
{
    char text[64];
    if (word.len == 0 || word.len >= sizeof text || memchr(word.p, 0, word.len) != NULL)
        return false;
    memcpy(text, word.p, word.len);
    text[word.len] = 0;
    *out = (struct nameserver){ .ip = { .family = 4 } };
    char *percent = strchr(text, '%');
    if (percent != NULL) {
        if (strlen(percent + 1) >= sizeof out->interface)
            return false;
        memcpy(out->interface, percent + 1, strlen(percent + 1) + 1);
        *percent = 0;
    }
    if (inet_pton(AF_INET, text, out->ip.bytes) == 1)
        return true;
    out->ip.family = 6;
    return inet_pton(AF_INET6, text, out->ip.bytes) == 1;
}

bool nameserver_is_known(const struct nameserver *list, size_t n, const struct nameserver *one)
{
    for (size_t i = 0; i < n; i++) {
        if (list[i].ip.family == one->ip.family && strcmp(list[i].interface, one->interface) == 0 &&
            memcmp(list[i].ip.bytes, one->ip.bytes, sizeof one->ip.bytes) == 0)
            return true;
    }
    return false;
}

size_t resolvconf_parse(struct nameserver out[RESOLVCONF_MAX], struct span text)
{
    size_t n = 0;
    while (text.len > 0 && n < RESOLVCONF_MAX) {
        const uint8_t *end = memchr(text.p, '\n', text.len);
        size_t len = end != NULL ? (size_t)(end - text.p) : text.len;
        struct span line = { text.p, len };
        text.p += len + (end != NULL);
        text.len -= len + (end != NULL);
        struct span keyword = take_word(&line);
        if (span_equal(keyword, span_str("nameserver")) &&
            nameserver_parse(&out[n], take_word(&line)) && !nameserver_is_known(out, n, &out[n]))
            n++;
    }
    return n;
}
