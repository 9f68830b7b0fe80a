#include "common/base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"

static const char *const NAMES[] = { "debug", "info", "warn", "error" };

/* The only process-wide state of the logger. The name is set at start, before any thread. */
static const char *program_name = "lanyard";
static atomic_int lowest = LOG_LEVEL_INFO;

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

void log_write(enum log_level level, const char *fmt, ...)
{
    if ((int)level < atomic_load(&lowest))
        return;
    char text[1024], line[2048], at[CLOCK_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    clock_format(clock_now_s(), at, sizeof at);
    int head = snprintf(line, sizeof line, "%s %s %s: ", at, NAMES[level], program_name);
    if (head < 0)
        return;
    size_t n = (size_t)head;
    n += escape(text, line + n, sizeof line - n - 1);
    line[n++] = '\n';
    ssize_t rc = write(STDERR_FILENO, line, n);
    (void)rc; /* nowhere left to complain to */
}
