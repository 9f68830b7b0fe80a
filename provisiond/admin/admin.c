#include "provisiond/admin/admin.h"

#include <stdarg.h>
#include <stdio.h>

int admin_usage(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)fputs("lanyard-provisiond: ", stderr);
    (void)vfprintf(stderr, fmt, ap);
    (void)fputs(" (see --help)\n", stderr);
    va_end(ap);
    return 2;
}

int admin_end(enum err e, const struct err_info *info)
{
    if (e == ERR_OK)
        return 0;
    (void)fprintf(stderr, "lanyard-provisiond: %s\n", info->text);
    return e == ERR_NOTFOUND ? 1 : 2;
}
