/* Any bytes are entries, one behind the other, and then the end or a fault with its place. An entry
 * is one line, its words are in it and in order, and taken apart once more it is the same, but for
 * the TTL, which was taken out of it. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsd/core/zonetext.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_words(const struct zonetext *zt, const struct zone_entry *e)
{
    size_t at = e->at;
    if (e->n_words == 0 || e->n_words > ZONETEXT_WORDS)
        abort();
    for (size_t i = 0; i < e->n_words; i++) {
        const struct zone_word *w = &e->words[i];
        if (w->at < at || w->len == 0 || w->at + w->len > zt->at)
            abort();
        if (memchr(zt->plain + w->at, '\n', w->len) != NULL)
            abort();
        at = w->at + w->len;
    }
}

static void check_entry(const struct zonetext *zt, const struct zone_entry *e)
{
    check_words(zt, e);
    if (e->text != zt->plain + e->at || strchr(e->text, '\n') != NULL)
        abort();
    if (e->has_ttl && e->ttl_s > ZONETEXT_TTL_MAX)
        abort();
    if (!e->is_directive && e->type >= e->n_words)
        abort();
    if (e->is_directive && e->text[0] != '$')
        abort();
}

/* The one line of an entry is one entry, with no TTL left in it. */
static void check_again(const struct zone_entry *e)
{
    struct zonetext zt;
    struct zone_entry again;
    char *plain = strdup(e->text);
    if (plain == NULL)
        abort();
    zonetext_init(&zt, span_str(e->text), plain);
    if (zonetext_next(&zt, &again, NULL) != ERR_OK || again.n_words > e->n_words)
        abort();
    if (strcmp(again.text, e->text) != 0 || again.is_directive != e->is_directive ||
        (!e->is_directive && again.has_ttl))
        abort();
    free(plain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct zonetext zt;
    struct zone_entry e;
    struct err_info info;
    char *plain = malloc(size + 1);
    if (plain == NULL)
        return 0;
    memcpy(plain, data, size);
    plain[size] = 0;
    zonetext_init(&zt, (struct span){ data, size }, plain);
    size_t at = 0;
    enum err got;
    while ((got = zonetext_next(&zt, &e, &info)) == ERR_OK) {
        if (e.at < at || zt.at <= e.at)
            abort();
        at = zt.at;
        check_entry(&zt, &e);
        check_again(&e);
    }
    int line, column;
    if (got != ERR_NOTFOUND &&
        (got != ERR_CONFIG || sscanf(info.text, "%d:%d: ", &line, &column) != 2 || line < 1 ||
         column < 1))
        abort();
    if (got == ERR_NOTFOUND && zt.at != size)
        abort();
    free(plain);
    return 0;
}
