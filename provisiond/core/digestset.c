#include "provisiond/core/digestset.h"

#include <stdlib.h>
#include <string.h>

#include "common/pki/devid.h"

struct digestset {
    size_t n;
    uint8_t entry[][DIGESTSET_LEN];
};

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, DIGESTSET_LEN);
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool decode(struct span line, enum digestset_form form, uint8_t out[DIGESTSET_LEN])
{
    if (form == DIGESTSET_ID) {
        if (!devid_is_valid(line))
            return false;
        memcpy(out, line.p, DIGESTSET_LEN);
        return true;
    }
    if (line.len != (size_t)2 * DIGESTSET_LEN)
        return false;
    for (size_t i = 0; i < DIGESTSET_LEN; i++) {
        int high = hex_value(line.p[2 * i]), low = hex_value(line.p[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

enum err digestset_parse(struct digestset **out, struct span text, enum digestset_form form,
                         struct err_info *info)
{
    size_t most = text.len / DIGESTSET_LEN + 1, line_number = 0;
    struct digestset *s = calloc(1, sizeof *s + most * DIGESTSET_LEN);
    if (s == NULL)
        return err_set(info, ERR_NOMEM, "out of memory");
    while (text.len > 0) {
        struct span line = span_take_line(&text);
        line_number++;
        if (line.len == 0)
            continue;
        if (!decode(line, form, s->entry[s->n])) {
            free(s);
            return err_set(info, ERR_INVALID, "line %zu is not %s", line_number,
                           form == DIGESTSET_ID ? "a device id (32 characters of a-z and 2-7)"
                                                : "a SHA-256 in 64 hexadecimal digits");
        }
        s->n++;
    }
    qsort(s->entry, s->n, DIGESTSET_LEN, compare);
    *out = s;
    return ERR_OK;
}

void digestset_free(struct digestset *s)
{
    free(s);
}

bool digestset_has(const struct digestset *s, const uint8_t entry[DIGESTSET_LEN])
{
    return s != NULL && bsearch(entry, s->entry, s->n, DIGESTSET_LEN, compare) != NULL;
}

size_t digestset_count(const struct digestset *s)
{
    return s == NULL ? 0 : s->n;
}
