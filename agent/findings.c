#include "agent/findings.h"

#include <stdarg.h>
#include <string.h>

#include <jansson.h>

#define TEXT_COLUMN 30

static const char *const RESULTS[] = {
    [FINDING_PASS] = "pass",
    [FINDING_WARN] = "warn",
    [FINDING_FAIL] = "fail",
};

void findings_add(struct findings *f, enum finding_result result, const char *check,
                  const char *format, ...)
{
    if (f->n == FINDINGS_MAX)
        return;
    struct finding *one = &f->list[f->n++];
    va_list args;
    one->result = result;
    (void)snprintf(one->check, sizeof one->check, "%s", check);
    va_start(args, format);
    (void)vsnprintf(one->text, sizeof one->text, format, args);
    va_end(args);
}

bool findings_are_good(const struct findings *f)
{
    for (size_t i = 0; i < f->n; i++) {
        if (f->list[i].result == FINDING_FAIL)
            return false;
    }
    return true;
}

static void print_json(const struct findings *f, FILE *out)
{
    json_t *list = json_array();
    for (size_t i = 0; i < f->n; i++) {
        const struct finding *one = &f->list[i];
        json_t *obj = json_pack("{ss ss ss}", "check", one->check, "result", RESULTS[one->result],
                                "text", one->text);
        (void)json_array_append_new(list, obj);
    }
    json_t *root = json_pack("{sb so}", "ok", findings_are_good(f), "findings", list);
    (void)json_dumpf(root, out, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    (void)fputc('\n', out);
    json_decref(root);
}

void findings_print(const struct findings *f, bool json, FILE *out)
{
    if (json) {
        print_json(f, out);
        return;
    }
    for (size_t i = 0; i < f->n; i++) {
        const struct finding *one = &f->list[i];
        (void)fprintf(out, "%s  %-*s%s\n", RESULTS[one->result], TEXT_COLUMN, one->check,
                      one->text);
    }
}
