#include "provisiond/admin/findings.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "provisiond/admin/admin.h"
#include "provisiond/admin/jsonline.h"

static const char *const NAMES[] = { "pass", "warn", "fail" };

void findings_init(struct findings *f, bool as_json)
{
    *f = (struct findings){ .rows = as_json ? json_array() : NULL };
}

void findings_add(struct findings *f, enum finding what, const char *check, const char *subject,
                  const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (what > f->worst)
        f->worst = what;
    if (f->rows != NULL) {
        json_t *o = json_object();
        jsonline_text(o, "check", check);
        jsonline_text(o, "subject", subject);
        jsonline_text(o, "status", NAMES[what]);
        jsonline_text(o, "detail", text);
        (void)json_array_append_new(f->rows, o);
        return;
    }
    (void)printf("%s  %s%s%s: ", NAMES[what], check, subject[0] != 0 ? " " : "", subject);
    admin_print_plain(text, sizeof text);
    (void)putchar('\n');
}

int findings_end(struct findings *f)
{
    if (f->rows == NULL)
        return (int)f->worst;
    json_t *o = json_pack("{s:s, s:o}", "status", NAMES[f->worst], "checks", f->rows);
    char *text = o == NULL ? NULL : json_dumps(o, JSON_INDENT(1));
    (void)puts(text != NULL ? text : "{}");
    free(text);
    json_decref(o);
    f->rows = NULL;
    return (int)f->worst;
}
