/* buf.h - a growing byte buffer that cannot exist without a cap.
 * Errors are sticky: append freely, check buf_error() once at the end. One thread at a time. */
#ifndef LANYARD_BASE_BUF_H
#define LANYARD_BASE_BUF_H

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/span.h"

struct buf {
    uint8_t *p; /* len bytes and a NUL after them (not counted); NULL while empty */
    size_t len; /* bytes in use */
    size_t cap; /* bytes allocated */
    size_t max; /* len never grows past this */
    enum err e; /* first failure: ERR_LIMIT or ERR_NOMEM */
};

/* An empty buffer that will hold at most `max` bytes. Nothing is allocated yet. */
void buf_init(struct buf *b, size_t max);

/* Frees the bytes and leaves an empty buffer with the same max. */
void buf_clear(struct buf *b);

/* As buf_clear(), and overwrites the bytes first: for keys and tokens. */
void buf_wipe(struct buf *b);

/* Forgets the content and the error, keeps the memory. */
void buf_reset(struct buf *b);

void buf_add(struct buf *b, const void *p, size_t len);
void buf_add_span(struct buf *b, struct span s);
void buf_add_str(struct buf *b, const char *s);
void buf_add_fmt(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* First `n` bytes removed, the rest moved down. `n` is at most len. */
void buf_drop(struct buf *b, size_t n);

/* ERR_OK, or the first failure of an append since init, clear or reset. */
NODISCARD enum err buf_error(const struct buf *b);

/* The content as borrowed bytes; valid until the next append. */
struct span buf_span(const struct buf *b);

/* The content as a NUL-terminated string, "" while empty; valid until the next append. */
const char *buf_str(const struct buf *b);

/* Hands the bytes to the caller (free() them; NUL-terminated, never NULL unless out of memory)
 * and leaves an empty buffer. */
char *buf_take(struct buf *b);

#endif
