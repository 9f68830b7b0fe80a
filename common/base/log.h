/* log.h - one line an event on standard error:
 *     2026-11-21T03:43:50Z warn dnsd: cannot read the challenge store: ...
 * or, for programs that read logs:
 *     {"time":"2026-11-21T03:43:50Z","level":"warn","program":"dnsd","text":"cannot read ..."}
 * Control bytes are escaped, so that nothing from outside can start a line of its own. Lines carry
 * no secrets; ids and addresses only at debug level. Any thread; a line is one write(2). */
#ifndef LANYARD_BASE_LOG_H
#define LANYARD_BASE_LOG_H

#include <stdbool.h>

#include "common/base/attr.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/* Names the program (a literal, kept) and sets the lowest level that is written. Call once at
 * start. */
void log_init(const char *program, enum log_level level);

/* Changes the lowest level while threads are logging. Any thread. */
void log_set_level(enum log_level level);

/* "debug", "info", "warn" or "error" into *out; false for anything else. */
bool log_level_parse(const char *text, enum log_level *out);

/* Changes the form of the lines. Any thread. */
void log_set_format(enum log_format format);

/* "text" or "json" into *out; false for anything else. */
bool log_format_parse(const char *text, enum log_format *out);

void log_write(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warn(...) log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)

#endif
