/* zonetext.h - the text of a zone file, taken apart into its records and directives [RFC 1035
 * s5.1], so that a bracket or a quote that is not closed cannot swallow the records below it, and
 * with the strict TTLs that the reader behind it lacks. Knows no types and no data. Pure; one
 * thread at a time. Strings may not go over the end of their line; of control bytes only tab,
 * carriage return and line feed are text. */
#ifndef LANYARD_DNSD_CORE_ZONETEXT_H
#define LANYARD_DNSD_CORE_ZONETEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/span.h"

#define ZONETEXT_WORDS 32           /* of an entry, that are told apart; the rest is only checked */
#define ZONETEXT_TTL_MAX 2147483647 /* [RFC 2181 s8] */

/* A text that is being taken apart. */
struct zonetext {
    struct span raw; /* as it was given */
    char *plain;     /* the same, one byte for one, with blanks for comments, brackets and TTLs */
    size_t at;       /* of what comes next */
    size_t line_at;  /* where the line begins that was counted last */
    int line;        /* its number, from 1 */
};

/* A word: bytes of `plain`, with its quotes. */
struct zone_word {
    size_t at, len;
};

/* One record or directive, on however many lines. */
struct zone_entry {
    const char *text; /* on one line, without comments, brackets and TTL; NUL behind it */
    size_t at;        /* where it begins */
    struct zone_word words[ZONETEXT_WORDS];
    size_t n_words;
    size_t type;    /* of a record: which word is its type; behind it is its data */
    bool has_owner; /* of a record: the first word is its name */
    bool is_directive;
    bool has_ttl; /* a record with one, or $TTL */
    uint32_t ttl_s;
};

/* Begins with `raw`, which is only borrowed; `plain` is a copy of it with a NUL behind it, belongs
 * to the caller and is changed. */
void zonetext_init(struct zonetext *zt, struct span raw, char *plain);

/* Takes the next entry. ERR_NOTFOUND: there is none. ERR_CONFIG with "LINE:COLUMN: what is wrong",
 * after which nothing more can be taken. */
NODISCARD enum err zonetext_next(struct zonetext *zt, struct zone_entry *e, struct err_info *info);

/* Fails with "LINE:COLUMN: " of the byte `at`, which is not before the entry taken last, and a
 * printf-style sentence: ERR_CONFIG. */
NODISCARD enum err zonetext_fail(struct zonetext *zt, size_t at, struct err_info *info,
                                 const char *fmt, ...) PRINTF_LIKE(4, 5);

/* The word's bytes. */
struct span zonetext_word(const struct zonetext *zt, const struct zone_word *w);

/* Reads a TTL or another period: seconds, or numbers with one of the units s, m, h, d, w, as in
 * 1h30m. Errors: ERR_INVALID when it is none, ERR_RANGE above ZONETEXT_TTL_MAX. */
NODISCARD enum err zonetext_period(uint32_t *out_s, struct span word);

#endif
