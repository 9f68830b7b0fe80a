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
