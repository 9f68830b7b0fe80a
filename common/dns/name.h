/* name.h - a domain name in wire form, lower case, with the place of each label. Pure; no
 * allocation. [RFC 1035 s3.1, RFC 4343] */
#ifndef LANYARD_DNS_NAME_H
#define LANYARD_DNS_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/span.h"

#define NAME_WIRE_MAX 255 /* bytes with the root label [RFC 1035 s2.3.4] */
#define NAME_LABEL_MAX 63 /* bytes of one label */
#define NAME_LABELS_MAX 127
#define NAME_TEXT_MAX 1024 /* characters of name_format() with the NUL */

struct name {
    uint8_t len;      /* wire bytes with the root label; 1 is the root */
    uint8_t n_labels; /* without the root */
    uint8_t
        at[NAME_LABELS_MAX + 1]; /* offset of each label's length byte; the last is the root's */
    uint8_t wire[NAME_WIRE_MAX + 1]; /* lower case; one byte more, to be worked on in blocks */
};

/* Reads an uncompressed name from the start of `wire`, which may go on after it (out->len tells
 * where). Errors: ERR_INVALID for a compression pointer, a label type that does not exist, an end
 * before the root label, more than 255 bytes. */
NODISCARD enum err name_read(struct name *out, struct span wire);

/* Reads a host name as people write it: letters, digits, '-' and '_', labels joined by '.', with or
 * without a final dot. "." is the root. Errors: ERR_INVALID. */
NODISCARD enum err name_parse(struct name *out, const char *text);

/* Writes `n` as text without a final dot ("." for the root); bytes that are not printable and
 * those with a meaning in zone files become \DDD. */
void name_format(const struct name *n, char out[NAME_TEXT_MAX]);

/* Label `i` counted from the left, without its length byte; i < n_labels. */
static inline struct span name_label(const struct name *n, unsigned i)
{
    return (struct span){ n->wire + n->at[i] + 1, n->wire[n->at[i]] };
}

/* The wire form of the last `n_labels` labels; n_labels <= n->n_labels. */
static inline struct span name_suffix(const struct name *n, unsigned n_labels)
{
    uint8_t at = n->at[n->n_labels - n_labels];
    return (struct span){ n->wire + at, (size_t)(n->len - at) };
}

/* A hash of a wire-form name or suffix, for tables whose keys the operator chose (not an attacker).
 */
uint32_t name_hash(struct span wire);

/* Whether `n` is `parent` or below it. */
static inline bool name_is_within(const struct name *n, const struct name *parent)
{
    if (n->n_labels < parent->n_labels)
        return false;
    struct span suffix = name_suffix(n, parent->n_labels);
    return suffix.len == parent->len && memcmp(suffix.p, parent->wire, suffix.len) == 0;
}

#endif
