#include "common/cure/cure.h"

#include <string.h>
#include <strings.h>

#include "common/base/buf.h"

#define TEXT_MAX 4096
#define HINT_SCORE 16 /* what it says of itself outweighs what it does */
#define TRAIT_SCORE 2
#define BAD_SCORE (-1000)

static const char ZONE[] = "{zone}";

const struct cure *cure_find(const char *id)
{
    for (size_t i = 0; i < CURES_N; i++) {
        if (strcmp(CURES[i].id, id) == 0)
            return &CURES[i];
    }
    return NULL;
}

static int trait(enum cure_known of_product, enum cure_known seen)
{
    if (of_product == CURE_UNKNOWN || seen == CURE_UNKNOWN)
        return 0;
    return of_product == seen ? TRAIT_SCORE : -TRAIT_SCORE;
}

static bool has_class(const struct cure *c, const char *name)
{
    for (size_t i = 0; c->classes[i] != NULL; i++) {
        if (strcmp(c->classes[i], name) == 0)
            return true;
    }
    return false;
}

static int score(const struct cure *c, const struct cure_evidence *seen)
{
    int n = trait(c->loopback, seen->loopback) + trait(c->cgnat, seen->cgnat) +
            trait(c->whole_name, seen->whole_name);
    if (!has_class(c, seen->class_name) || strcmp(c->id, "other") == 0)
        return BAD_SCORE;
    for (size_t i = 0; c->hints[i] != NULL; i++) {
        if (strcasestr(seen->hints, c->hints[i]) != NULL)
            return n + HINT_SCORE;
    }
    return n;
}

size_t cure_guess(const struct cure *out[CURE_GUESS_MAX], const struct cure_evidence *seen)
{
    int scores[CURE_GUESS_MAX];
    const struct cure *other = cure_find("other");
    bool with_other = other != NULL && has_class(other, seen->class_name);
    size_t n = 0, cap = with_other ? CURE_GUESS_MAX - 1 : CURE_GUESS_MAX;
    for (size_t i = 0; i < CURES_N; i++) {
        int s = score(&CURES[i], seen);
        size_t at = n;
        while (at > 0 && scores[at - 1] < s)
            at--;
        if (s == BAD_SCORE || at == cap)
            continue;
        size_t n_moved = (n < cap ? n : cap - 1) - at;
        memmove(&scores[at + 1], &scores[at], n_moved * sizeof scores[0]);
        memmove(&out[at + 1], &out[at], n_moved * sizeof out[0]);
        scores[at] = s;
        out[at] = &CURES[i];
        n = n < cap ? n + 1 : n;
    }
    if (with_other)
        out[n++] = other;
    return n;
}

/* `text` with the zone in its places; NULL when out of memory. */
static json_t *put_zone(const char *text, const char *zone)
{
    struct buf b;
    buf_init(&b, TEXT_MAX);
    for (const char *at; (at = strstr(text, ZONE)) != NULL; text = at + sizeof ZONE - 1) {
        buf_add(&b, text, (size_t)(at - text));
        buf_add_str(&b, zone);
    }
    buf_add_str(&b, text);
    json_t *json = buf_error(&b) == ERR_OK ? json_string(buf_str(&b)) : NULL;
    buf_clear(&b);
    return json;
}

json_t *cure_to_json(const struct cure *c, const char *zone)
{
    json_t *steps = json_array();
    for (size_t i = 0; c->steps[i] != NULL; i++) {
        if (json_array_append_new(steps, put_zone(c->steps[i], zone)) != 0) {
            json_decref(steps);
            return NULL;
        }
    }
    return json_pack("{ss ss so so}", "product", c->id, "title", c->title, "steps", steps, "paste",
                     c->paste != NULL ? put_zone(c->paste, zone) : json_null());
}
