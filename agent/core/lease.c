#include "agent/core/lease.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WORDS_MAX 4
#define WORD_MAX 256
#define NEVER INT64_MAX

/* One statement of dhclient: the words up to ';', '{' or '}'. */
struct statement {
    size_t n; /* words, those left out too */
    struct span words[WORDS_MAX];
    char end; /* 0 at the end of the text */
};

struct leases {
    struct nameserver *out;
    size_t n;
    unsigned depth;
    int64_t starts_at, ends_at; /* of the lease that is read */
};

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_mark(uint8_t c)
{
    return c == ';' || c == '{' || c == '}';
}

/* The length of the word at the beginning of `text`; what is quoted is one word. */
static size_t word_len(struct span text)
{
    size_t n = 0;
    if (text.p[0] == '"') {
        for (n = 1; n < text.len && text.p[n] != '"'; n++)
            n += text.p[n] == '\\' && n + 1 < text.len;
        return n < text.len ? n + 1 : n;
    }
    while (n < text.len && !is_blank(text.p[n]) && !is_mark(text.p[n]) && text.p[n] != '"')
        n++;
    return n;
}

static struct statement take_statement(struct span *text)
{
    struct statement s = { 0 };
    while (text->len > 0 && s.end == 0) {
        size_t len = 1;
        if (text->p[0] == '#') {
            const uint8_t *end = memchr(text->p, '\n', text->len);
            len = end != NULL ? (size_t)(end - text->p) : text->len;
        } else if (is_mark(text->p[0])) {
            s.end = (char)text->p[0];
        } else if (!is_blank(text->p[0])) {
            len = word_len(*text);
            if (s.n < WORDS_MAX)
                s.words[s.n] = (struct span){ text->p, len };
            s.n++;
        }
        *text = (struct span){ text->p + len, text->len - len };
    }
    return s;
}

static bool word_is(const struct statement *s, size_t i, const char *text)
{
    return i < s->n && i < WORDS_MAX && span_equal(s->words[i], span_str(text));
}

static void copy_word(char out[WORD_MAX], const struct statement *s, size_t i)
{
    bool fits = i < s->n && i < WORDS_MAX && s->words[i].len < WORD_MAX;
    size_t len = fits ? s->words[i].len : 0;
    if (len > 0)
        memcpy(out, s->words[i].p, len);
    out[len] = 0;
}

/* A number of seconds, NEVER for what is none or too large to count with. */
static int64_t read_seconds(const char *text)
{
    char *end;
    long long value = strtoll(text, &end, 10);
    bool good = end != text && *end == 0 && value >= 0 && value < INT64_MAX / 4;
    return good ? (int64_t)value : NEVER;
}

/* "6 2026/11/21 14:48:19", which is UTC, "epoch 1795268899" or "never". */
static int64_t read_end(const struct statement *s)
{
    char date[WORD_MAX], hour[WORD_MAX];
    struct tm tm = { 0 };
    copy_word(date, s, 2);
    copy_word(hour, s, 3);
    if (word_is(s, 1, "epoch"))
        return read_seconds(date);
    if (sscanf(date, "%4d/%2d/%2d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday) != 3 ||
        sscanf(hour, "%2d:%2d:%2d", &tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 3)
        return NEVER;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    return (int64_t)timegm(&tm);
}

/* The addresses between `sep`s. */
static size_t add_servers(struct nameserver *out, size_t n, struct span list, char sep)
{
    while (list.len > 0 && n < RESOLVCONF_MAX) {
        const uint8_t *end = memchr(list.p, sep, list.len);
        size_t len = end != NULL ? (size_t)(end - list.p) : list.len;
        if (nameserver_parse(&out[n], (struct span){ list.p, len }) &&
            !nameserver_is_known(out, n, &out[n]))
            n++;
        len += end != NULL;
        list = (struct span){ list.p + len, list.len - len };
    }
    return n;
}

static void read_statement(struct leases *l, const struct statement *s)
{
    char text[WORD_MAX];
    if (s->end == '{' && l->depth == 0) { /* a new lease: the one before is history */
        l->n = 0;
        l->starts_at = l->ends_at = NEVER;
    }
    if (s->end == '{')
        l->depth++;
    if (s->end == '}' && l->depth > 0)
        l->depth--;
    copy_word(text, s, 1);
    /* dhclient writes lists without blanks, people may add some */
    if (word_is(s, 0, "option") &&
        (word_is(s, 1, "domain-name-servers") || word_is(s, 1, "dhcp6.name-servers"))) {
        for (size_t i = 2; i < s->n && i < WORDS_MAX; i++)
            l->n = add_servers(l->out, l->n, s->words[i], ',');
    } else if (word_is(s, 0, "expire")) {
        l->ends_at = read_end(s);
    } else if (word_is(s, 0, "starts")) {
        l->starts_at = read_seconds(text);
    } else if (word_is(s, 0, "max-life") && l->starts_at != NEVER) {
        int64_t life_s = read_seconds(text);
        l->ends_at = life_s == NEVER ? NEVER : l->starts_at + life_s;
    }
}

static size_t read_dhclient(struct nameserver *out, struct span text, int64_t now_s)
{
    struct leases l = { .out = out, .starts_at = NEVER, .ends_at = NEVER };
    while (text.len > 0) {
        struct statement s = take_statement(&text);
        read_statement(&l, &s);
    }
    return l.ends_at > now_s ? l.n : 0;
}

static size_t read_networkd(struct nameserver *out, struct span text)
{
    static const char KEY[] = "DNS=";
    size_t n = 0, key_len = sizeof KEY - 1;
    while (text.len > 0) {
        const uint8_t *end = memchr(text.p, '\n', text.len);
        size_t len = end != NULL ? (size_t)(end - text.p) : text.len;
        if (len > key_len && memcmp(text.p, KEY, key_len) == 0)
            n = add_servers(out, n, (struct span){ text.p + key_len, len - key_len }, ' ');
        len += end != NULL;
        text = (struct span){ text.p + len, text.len - len };
    }
    return n;
}

size_t lease_servers(struct nameserver out[RESOLVCONF_MAX], enum lease_form form, struct span text,
                     int64_t now_s)
{
    switch (form) {
    case LEASE_RESOLVCONF:
        return resolvconf_parse(out, text);
    case LEASE_NETWORKD:
        return read_networkd(out, text);
    case LEASE_DHCLIENT:
        return read_dhclient(out, text, now_s);
    }
    return 0;
}
