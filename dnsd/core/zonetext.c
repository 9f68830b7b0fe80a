#include "dnsd/core/zonetext.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static bool is_blank(int c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* Whether a word that is not quoted ends before `c`. */
static bool ends_word(int c)
{
    return is_blank(c) || c == '\n' || c == '(' || c == ')' || c == ';';
}

void zonetext_init(struct zonetext *zt, struct span raw, char *plain)
{
    *zt = (struct zonetext){ .raw = raw, .plain = plain, .line = 1 };
}

struct span zonetext_word(const struct zonetext *zt, const struct zone_word *w)
{
    return (struct span){ (const uint8_t *)zt->plain + w->at, w->len };
}

/* Counts the lines up to the byte `at`. */
static void count_lines(struct zonetext *zt, size_t at)
{
    const uint8_t *end;
    while ((end = memchr(zt->raw.p + zt->line_at, '\n', at - zt->line_at)) != NULL) {
        zt->line_at = (size_t)(end - zt->raw.p) + 1;
        zt->line++;
    }
}

enum err zonetext_fail(struct zonetext *zt, size_t at, struct err_info *info, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    count_lines(zt, at);
    return err_set(info, ERR_CONFIG, "%d:%zu: %s", zt->line, at - zt->line_at + 1, text);
}

static uint32_t unit_of(int c)
{
    switch (c | 0x20) {
    case 's':
        return 1;
    case 'm':
        return 60;
    case 'h':
        return 3600;
    case 'd':
        return 86400;
    case 'w':
        return 604800;
    default:
        return 0;
    }
}

enum err zonetext_period(uint32_t *out_s, struct span word)
{
    uint64_t sum_s = 0, number = 0;
    bool in_number = false, has_unit = false, is_over = false;
    for (size_t i = 0; i < word.len; i++) {
        int c = word.p[i];
        if (is_digit(c)) {
            number = number * 10 + (uint64_t)(c - '0');
            in_number = true;
        } else if (in_number && unit_of(c) != 0) {
            sum_s += number * unit_of(c);
            number = 0;
            in_number = false;
            has_unit = true;
        } else {
            return ERR_INVALID;
        }
        if (number > ZONETEXT_TTL_MAX || sum_s > ZONETEXT_TTL_MAX) {
            is_over = true;
            number = sum_s = 0;
        }
    }
    if (word.len == 0 || (has_unit && in_number))
        return ERR_INVALID;
    sum_s += number;
    if (is_over || sum_s > ZONETEXT_TTL_MAX)
        return ERR_RANGE;
    *out_s = (uint32_t)sum_s;
    return ERR_OK;
}

static enum err fail_control(struct zonetext *zt, struct err_info *info)
{
    return zonetext_fail(zt, zt->at, info, "a byte that is no text: 0x%02x", zt->raw.p[zt->at]);
}

static bool is_control(int c)
{
    return (c < 0x20 && c != '\t' && c != '\r' && c != '\n') || c == 0x7f;
}

/* Goes over the byte behind a backslash, which stands for itself. */
static enum err skip_escaped(struct zonetext *zt, struct err_info *info)
{
    if (zt->at + 1 >= zt->raw.len || zt->raw.p[zt->at + 1] == '\n' || zt->raw.p[zt->at + 1] == '\r')
        return zonetext_fail(zt, zt->at, info, "a backslash at the end of the line");
    zt->at++;
    if (is_control(zt->raw.p[zt->at]))
        return fail_control(zt, info);
    zt->at++;
    return ERR_OK;
}

/* Goes over a string, from its first quote to behind its last. */
static enum err skip_string(struct zonetext *zt, struct err_info *info)
{
    size_t began = zt->at++;
    while (zt->at < zt->raw.len && zt->raw.p[zt->at] != '\n') {
        int c = zt->raw.p[zt->at];
        if (is_control(c))
            return fail_control(zt, info);
        if (c == '\\') {
            enum err e = skip_escaped(zt, info);
            if (e != ERR_OK)
                return e;
            continue;
        }
        zt->at++;
        if (c != '"')
            continue;
        if (zt->at < zt->raw.len && !ends_word(zt->raw.p[zt->at]))
            return zonetext_fail(zt, zt->at, info, "no blank behind the string");
        return ERR_OK;
    }
    return zonetext_fail(zt, began, info, "the string that begins here does not end in its line");
}

/* Takes a word; a string may stand behind a = in it [RFC 9460 s2.1]. */
static enum err take_word(struct zonetext *zt, struct zone_entry *e, struct err_info *info)
{
    size_t began = zt->at;
    while (zt->at < zt->raw.len && !ends_word(zt->raw.p[zt->at])) {
        int c = zt->raw.p[zt->at];
        enum err got = ERR_OK;
        if (is_control(c))
            return fail_control(zt, info);
        if (c == '\\')
            got = skip_escaped(zt, info);
        else if (c == '"' && (zt->at == began || zt->raw.p[zt->at - 1] == '='))
            got = skip_string(zt, info);
        else if (c == '"')
            return zonetext_fail(zt, zt->at, info, "a quote within a word: write \\\"");
        else
            zt->at++;
        if (got != ERR_OK)
            return got;
    }
    if (e->n_words < ZONETEXT_WORDS)
        e->words[e->n_words++] = (struct zone_word){ began, zt->at - began };
    return ERR_OK;
}

/* Takes the words up to the end of a line that is not in brackets. */
static enum err take_words(struct zonetext *zt, struct zone_entry *e, struct err_info *info)
{
    size_t depth = 0, opened_at = 0;
    bool in_comment = false;
    while (zt->at < zt->raw.len) {
        int c = zt->raw.p[zt->at];
        if (c == '\n' && depth == 0)
            break;
        in_comment = c != '\n' && (in_comment || c == ';');
        if (!in_comment && !ends_word(c)) {
            enum err got = take_word(zt, e, info);
            if (got != ERR_OK)
                return got;
            continue;
        }
        if (c == '(' && !in_comment && depth++ == 0)
            opened_at = zt->at;
        if (c == ')' && !in_comment && depth-- == 0)
            return zonetext_fail(zt, zt->at, info, "a ) without a ( before it");
        zt->plain[zt->at++] = ' ';
    }
    if (depth > 0)
        return zonetext_fail(zt, opened_at, info, "the ( that is opened here is not closed");
    zt->plain[zt->at] = 0;
    return ERR_OK;
}

/* A class as RFC 1035 and RFC 3597 s5 write it. Which are served is not known here. */
static bool is_class(struct span word)
{
    static const char *const NAMES[] = { "IN", "CH", "HS", "CS" };
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        if (span_is_nocase(word, NAMES[i]))
            return true;
    }
    return word.len > 5 && span_is_nocase((struct span){ word.p, 5 }, "CLASS") &&
           is_digit(word.p[5]);
}

static enum err take_ttl(struct zonetext *zt, uint32_t *out_s, const struct zone_word *w,
                         struct err_info *info)
{
    enum err got = zonetext_period(out_s, zonetext_word(zt, w));
    int shown = w->len > 40 ? 40 : (int)w->len;
    if (got == ERR_RANGE)
        return zonetext_fail(zt, w->at, info, "TTL %.*s is out of range: 0 to %d seconds", shown,
                             zt->plain + w->at, ZONETEXT_TTL_MAX);
    if (got != ERR_OK)
        return zonetext_fail(zt, w->at, info,
                             "'%.*s' is not a TTL: write seconds, or numbers with s, m, h, d or w",
                             shown, zt->plain + w->at);
    return ERR_OK;
}

/* Finds the type behind name, TTL and class, the latter two in either order; takes the TTL away. */
static enum err take_head(struct zonetext *zt, struct zone_entry *e, struct err_info *info)
{
    bool has_class = false;
    for (e->type = e->has_owner ? 1 : 0; e->type < e->n_words; e->type++) {
        const struct zone_word *w = &e->words[e->type];
        struct span word = zonetext_word(zt, w);
        if (is_digit(word.p[0])) {
            if (e->has_ttl)
                return zonetext_fail(zt, w->at, info, "a second TTL");
            enum err got = take_ttl(zt, &e->ttl_s, w, info);
            if (got != ERR_OK)
                return got;
            e->has_ttl = true;
            memset(zt->plain + w->at, ' ', w->len);
        } else if (!has_class && is_class(word)) {
            has_class = true;
        } else {
            return ERR_OK;
        }
    }
    const struct zone_word *last = &e->words[e->n_words - 1];
    return zonetext_fail(zt, last->at + last->len, info, "no type");
}

static enum err take_directive(struct zonetext *zt, struct zone_entry *e, struct err_info *info)
{
    if (!span_is_nocase(zonetext_word(zt, &e->words[0]), "$TTL"))
        return ERR_OK;
    if (e->n_words != 2)
        return zonetext_fail(zt, e->at, info, "write $TTL and one number of seconds");
    e->has_ttl = true;
    return take_ttl(zt, &e->ttl_s, &e->words[1], info);
}

enum err zonetext_next(struct zonetext *zt, struct zone_entry *e, struct err_info *info)
{
    *e = (struct zone_entry){ .at = zt->at };
    while (zt->at < zt->raw.len) {
        count_lines(zt, zt->at);
        *e = (struct zone_entry){ .at = zt->at, .text = zt->plain + zt->at };
        enum err got = take_words(zt, e, info);
        if (got != ERR_OK)
            return got;
        if (zt->at < zt->raw.len)
            zt->at++;
        if (e->n_words == 0)
            continue;
        e->has_owner = e->words[0].at == e->at;
        e->is_directive = e->has_owner && zt->plain[e->at] == '$';
        return e->is_directive ? take_directive(zt, e, info) : take_head(zt, e, info);
    }
    return ERR_NOTFOUND;
}
