#include "common/base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){ .max = max };
}

void buf_clear(struct buf *b)
{
    free(b->p);
    buf_init(b, b->max);
}

void buf_wipe(struct buf *b)
{
    if (b->p != NULL)
        explicit_bzero(b->p, b->cap);
    buf_clear(b);
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->e = ERR_OK;
    if (b->p != NULL)
        b->p[0] = 0;
}

/* Room for `more` bytes and the NUL. Grows by moving, and wipes the old copy: it may hold a key. */
static bool reserve(struct buf *b, size_t more)
{
    if (b->e != ERR_OK)
        return false;
    if (more > b->max - b->len) {
        b->e = ERR_LIMIT;
        return false;
    }
    size_t need = b->len + more + 1;
    if (need <= b->cap)
        return true;
    size_t cap = b->cap < 64 ? 64 : b->cap * 2;
    if (cap > b->max + 1)
        cap = b->max + 1;
    if (cap < need)
        cap = need;
    uint8_t *p = malloc(cap);
    if (p == NULL) {
        b->e = ERR_NOMEM;
        return false;
    }
    if (b->p != NULL) {
        memcpy(p, b->p, b->len);
        explicit_bzero(b->p, b->len);
        free(b->p);
    }
    b->p = p;
    b->cap = cap;
    return true;
}

void buf_add(struct buf *b, const void *p, size_t len)
{
    if (!reserve(b, len))
        return;
    if (len > 0)
        memcpy(b->p + b->len, p, len);
    b->len += len;
    b->p[b->len] = 0;
}

void buf_add_span(struct buf *b, struct span s)
{
    buf_add(b, s.p, s.len);
}

void buf_add_str(struct buf *b, const char *s)
{
    buf_add(b, s, strlen(s));
}

void buf_add_fmt(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0 || !reserve(b, (size_t)n))
        return;
    va_start(ap, fmt);
    (void)vsnprintf((char *)b->p + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
}

void buf_drop(struct buf *b, size_t n)
{
    if (n == 0)
        return;
    memmove(b->p, b->p + n, b->len - n);
    b->len -= n;
    b->p[b->len] = 0;
}

enum err buf_error(const struct buf *b)
{
    return b->e;
}

struct span buf_span(const struct buf *b)
{
    return (struct span){ b->p, b->len };
}

const char *buf_str(const struct buf *b)
{
    return b->p == NULL ? "" : (const char *)b->p;
}

char *buf_take(struct buf *b)
{
    char *p = (char *)b->p;
    if (p == NULL)
        p = calloc(1, 1);
    buf_init(b, b->max);
    return p;
}
