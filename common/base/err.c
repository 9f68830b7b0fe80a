#include "common/base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const NAMES[ERR_N] = {
    [ERR_OK] = "ok",
    [ERR_AGAIN] = "again",
    [ERR_NOMEM] = "no memory",
    [ERR_INVALID] = "invalid",
    [ERR_RANGE] = "out of range",
    [ERR_LIMIT] = "over the limit",
    [ERR_NOTFOUND] = "not found",
    [ERR_EXISTS] = "exists",
    [ERR_DENIED] = "denied",
    [ERR_ILLEGAL] = "illegal state",
    [ERR_IO] = "i/o",
    [ERR_TIMEOUT] = "timeout",
    [ERR_UNAVAILABLE] = "unavailable",
    [ERR_REMOTE] = "remote error",
    [ERR_CRYPTO] = "crypto",
    [ERR_CONFIG] = "configuration",
};

const char *err_name(enum err e)
{
    return (unsigned)e < ERR_N ? NAMES[e] : "unknown";
}

enum err err_set(struct err_info *info, enum err e, const char *fmt, ...)
{
    if (info != NULL) {
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(info->text, sizeof info->text, fmt, ap);
        va_end(ap);
    }
    return e;
}

enum err err_prefix(struct err_info *info, enum err e, const char *fmt, ...)
{
    if (info != NULL) {
        char old[sizeof info->text];
        memcpy(old, info->text, sizeof old);
        va_list ap;
        va_start(ap, fmt);
        int n = vsnprintf(info->text, sizeof info->text, fmt, ap);
        va_end(ap);
        if (n >= 0 && (size_t)n < sizeof info->text)
            (void)snprintf(info->text + n, sizeof info->text - (size_t)n, "%.*s",
                           (int)(sizeof info->text - (size_t)n - 1), old);
    }
    return e;
}

enum err err_from_errno(int errnum)
{
    switch (errnum) {
    case ENOENT:
        return ERR_NOTFOUND;
    case EEXIST:
        return ERR_EXISTS;
    case EACCES:
    case EPERM:
        return ERR_DENIED;
    case ENOMEM:
        return ERR_NOMEM;
    default:
        return ERR_IO;
    }
}
