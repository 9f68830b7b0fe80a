#include "common/base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"

static const char *const NAMES[] = { "debug", "info", "warn", "error" };

#define LINE_MAX_BYTES 4096 /* what a pipe takes in one piece */

/* The only process-wide state of the logger. The name is set at start, before any thread. */
static const char *program_name = "lanyard";
static atomic_int lowest = LOG_LEVEL_INFO, form = LOG_FORMAT_TEXT;

void log_init(const char *program, enum log_level level)
{
    program_name = program;
    log_set_level(level);
}

void log_set_level(enum log_level level)
{
    atomic_store(&lowest, (int)level);
}

bool log_level_parse(const char *text, enum log_level *out)
{
    for (unsigned i = 0; i < ARRAY_LEN(NAMES); i++) {
        if (strcmp(text, NAMES[i]) == 0) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

void log_set_format(enum log_format format)
{
    atomic_store(&form, (int)format);
}

bool log_format_parse(const char *text, enum log_format *out)
{
    bool is_json = strcmp(text, "json") == 0;
    if (!is_json && strcmp(text, "text") != 0)
        return false;
    *out = is_json ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT;
    return true;
}

static size_t escape(const char *in, char *out, size_t cap)
{
    size_t n = 0;
    for (; *in != 0 && n + 5 < cap; in++) {
        unsigned char c = (unsigned char)*in;
        if (c < 0x20 || c == 0x7f)
            n += (size_t)snprintf(out + n, cap - n, "\\x%02x", c);
        else
            out[n++] = (char)c;
    }
    return n;
}

/* The length of the character at `p` [RFC 3629 s4], or 0 when these bytes are none. */
static size_t utf8_len(const unsigned char *p)
{
    size_t len = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (p[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) /* the NUL at the end, too */
            return 0;
    }
    bool is_long = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    bool is_none = (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf4 && p[1] > 0x8f);
    return is_long || is_none ? 0 : len;
}

/* As the content of a JSON string [RFC 8259 s7]; what is no UTF-8 becomes U+FFFD. */
static size_t escape_json(const char *text, char *out, size_t cap)
{
    const unsigned char *in = (const unsigned char *)text;
    size_t n = 0;
    while (*in != 0 && n + 7 < cap) {
        size_t len = utf8_len(in);
        if (*in == '"' || *in == '\\')
            out[n++] = '\\';
        if (len == 0 || *in < 0x20 || *in == 0x7f) {
            n += (size_t)snprintf(out + n, cap - n, "\\u%04x", len == 0 ? 0xfffdu : *in);
        } else {
            memcpy(out + n, in, len);
            n += len;
        }
        in += len == 0 ? 1 : len;
    }
    return n;
}

void log_write(enum log_level level, const char *fmt, ...)
{
    if ((int)level < atomic_load(&lowest))
        return;
    char text[1024], line[LINE_MAX_BYTES], at[CLOCK_TEXT_MAX];
    bool is_json = atomic_load(&form) == LOG_FORMAT_JSON;
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    clock_format(clock_now_s(), at, sizeof at);
    int head = is_json ? snprintf(line, sizeof line,
                                  "{\"time\":\"%s\",\"level\":\"%s\",\"program\":\"%s\","
                                  "\"text\":\"",
                                  at, NAMES[level], program_name)
                       : snprintf(line, sizeof line, "%s %s %s: ", at, NAMES[level], program_name);
    if (head < 0)
        return;
    size_t n = (size_t)head;
    if (is_json) {
        n += escape_json(text, line + n, sizeof line - n - 3);
        line[n++] = '"';
        line[n++] = '}';
    } else {
        n += escape(text, line + n, sizeof line - n - 1);
    }
    line[n++] = '\n';
    ssize_t rc = write(STDERR_FILENO, line, n);
    (void)rc; /* nowhere left to complain to */
}
