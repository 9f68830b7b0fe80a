#include "provisiond/admin/admin.h"

#include <stdarg.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/clock.h"

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

/* The user of this process; behind sudo, whom sudo names too. */
static void name_operator(char out[AUDIT_ACTOR_MAX])
{
    const struct passwd *pw = getpwuid(getuid());
    const char *sudo = getuid() == 0 ? getenv("SUDO_USER") : NULL;
    if (pw != NULL)
        (void)snprintf(out, AUDIT_ACTOR_MAX, "user %.32s%s%.32s", pw->pw_name,
                       sudo != NULL ? ", sudo by " : "", sudo != NULL ? sudo : "");
    else
        (void)snprintf(out, AUDIT_ACTOR_MAX, "user %lu", (unsigned long)getuid());
}

enum err admin_note(const struct admin *a, const char *device_id, const char *action,
                    struct err_info *info, const char *fmt, ...)
{
    va_list ap;
    struct audit_row row = { .seq = 0 };
    name_operator(row.actor);
    (void)snprintf(row.device_id, sizeof row.device_id, "%s", device_id);
    (void)snprintf(row.action, sizeof row.action, "%s", action);
    va_start(ap, fmt);
    (void)vsnprintf(row.detail, sizeof row.detail, fmt, ap);
    va_end(ap);
    return audit_append(a->db, &row, clock_now_s(), info);
}
