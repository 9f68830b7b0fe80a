#include "common/base/span.h"

#include <string.h>
#include <strings.h>

struct span span_str(const char *s)
{
    return (struct span){ (const uint8_t *)s, strlen(s) };
}

bool span_equal(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

bool span_is_nocase(struct span s, const char *lit)
{
    return strlen(lit) == s.len && strncasecmp((const char *)s.p, lit, s.len) == 0;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

struct span span_take_line(struct span *text)
{
    if (text->len == 0)
        return *text;
    const uint8_t *end = memchr(text->p, '\n', text->len);
    struct span line = { text->p, end == NULL ? text->len : (size_t)(end - text->p) };
    size_t taken = line.len + (end != NULL);
    text->p += taken;
    text->len -= taken;
    const uint8_t *comment = line.len > 0 ? memchr(line.p, '#', line.len) : NULL;
    if (comment != NULL)
        line.len = (size_t)(comment - line.p);
    while (line.len > 0 && is_blank(line.p[line.len - 1]))
        line.len--;
    while (line.len > 0 && is_blank(line.p[0])) {
        line.p++;
        line.len--;
    }
    return line;
}
