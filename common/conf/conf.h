/* conf.h - a configuration file in libconfuse syntax, with the line of every value, so that each
 * complaint reads "FILE:LINE: option: what is wrong and what to do".
 * Only a program's config.c uses it: nothing deeper sees libconfuse. Start-up and reload; one
 * thread at a time. */
#ifndef LANYARD_CONF_CONF_H
#define LANYARD_CONF_CONF_H

#include <stdbool.h>

#include <confuse.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/log.h"

struct conf; /* opaque */

/* Parses `path` by `opts` (libconfuse's table; it must outlive *out). On success *out is the
 * caller's, who calls conf_free(). An unknown option, a wrong type or a syntax error is ERR_CONFIG
 * with file and line in `info`; a missing or unreadable file as well. */
NODISCARD enum err conf_load(struct conf **out, const char *path, cfg_opt_t *opts,
                             struct err_info *info);

void conf_free(struct conf *c);

/* The root section; read values with cfg_getstr() and its family. Borrowed until conf_free(). */
cfg_t *conf_root(struct conf *c);

/* Line where `key` of section `sec` was set; the section's own line where it was not. */
int conf_line(const struct conf *c, cfg_t *sec, const char *key);

/* Whether the file sets `key` in `sec` (rather than leaving the default). */
bool conf_is_set(const struct conf *c, cfg_t *sec, const char *key);

/* Writes "FILE:LINE: key: " and the printf-style rest into `info`; returns ERR_CONFIG. */
enum err conf_fail(const struct conf *c, cfg_t *sec, const char *key, struct err_info *info,
                   const char *fmt, ...) PRINTF_LIKE(5, 6);

/* Reads the options log_level and log_format of the root section. The format holds from here on, so
 * that what there is to say about the rest of the file has it already; *level does not.
 * Errors: ERR_CONFIG. */
NODISCARD enum err conf_read_log(struct conf *c, enum log_level *level, struct err_info *info);

/* `value` as a path: absolute as it is, relative to the folder of the configuration file otherwise.
 * NULL when out of memory. The caller frees it. */
char *conf_path(const struct conf *c, const char *value);

/* Whether users besides its owner and group may read the file: not for secrets then. */
bool conf_is_open(const struct conf *c);

/* Where a value came from, "FILE:LINE", for errors found later (a port in use). Caller frees. */
char *conf_where(const struct conf *c, cfg_t *sec, const char *key);

#endif
