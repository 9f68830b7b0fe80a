#include "provisiond/admin/admin.h"

#include <errno.h>
#include <stdarg.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"

int admin_usage(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)fputs("lanyard-provisiond: ", stderr);
    (void)vfprintf(stderr, fmt, ap);
    (void)fputc('\n', stderr);
    va_end(ap);
    return ADMIN_WRONG_CALL;
}

bool admin_number(const char *text, int64_t *out)
{
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (*end != 0 || end == text || v < 1 || errno != 0)
        return false;
    *out = v;
    return true;
}

bool admin_take_json(int *argc, char **argv)
{
    int n = 0;
    for (int i = 0; i < *argc; i++) {
        if (strcmp(argv[i], "--json") != 0)
            argv[n++] = argv[i];
    }
    bool found = n < *argc;
    *argc = n;
    return found;
}

void admin_print_plain(const char *text, size_t max)
{
    for (; *text != 0 && max > 0; text++, max--)
        (void)putchar((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text);
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
