#include "provisiond/admin/jsonline.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"

void jsonline_text(json_t *o, const char *key, const char *text)
{
    json_t *v = json_string(text);
    char *copy = v == NULL ? strdup(text) : NULL;
    for (char *p = copy; p != NULL && *p != 0; p++)
        *p = (unsigned char)*p < 0x80 ? *p : '?';
    if (copy != NULL)
        v = json_string(copy);
    free(copy);
    (void)json_object_set_new(o, key, v);
}

void jsonline_int(json_t *o, const char *key, int64_t value)
{
    (void)json_object_set_new(o, key, json_integer(value));
}

void jsonline_bool(json_t *o, const char *key, bool value)
{
    (void)json_object_set_new(o, key, json_boolean(value));
}

void jsonline_time(json_t *o, const char *key, int64_t at_s)
{
    char text[CLOCK_TEXT_MAX];
    clock_format(at_s, text, sizeof text);
    (void)json_object_set_new(o, key, at_s == 0 ? json_null() : json_string(text));
}

void jsonline_print(json_t *o)
{
    if (json_dumpf(o, stdout, JSON_COMPACT) == 0)
        (void)putchar('\n');
    json_decref(o);
}
