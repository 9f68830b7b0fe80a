/* cure.h - which product filters private answers, and what to do about it there. The products are
 * data: cures.json beside this file, built in as a table. Pure; any thread. */
#ifndef LANYARD_CURE_CURE_H
#define LANYARD_CURE_CURE_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#define CURE_CLASSES_MAX 12
#define CURE_HINTS_MAX 12
#define CURE_STEPS_MAX 6
#define CURE_GUESS_MAX 4 /* products worth naming */

enum cure_known { CURE_UNKNOWN = 0, CURE_NO, CURE_YES };

/* One product. "{zone}" in the texts stands for the zone: cure_to_json() puts it in. */
struct cure {
    const char *id, *title;
    const char *paste; /* the exact lines; NULL: there are none */
    const char *classes[CURE_CLASSES_MAX + 1], *hints[CURE_HINTS_MAX + 1]; /* up to a NULL */
    const char *steps[CURE_STEPS_MAX + 1];
    /* what tells it from others with the same classes */
    enum cure_known loopback;   /* lets 127.0.0.1 pass */
    enum cure_known cgnat;      /* filters 100.64.0.0/10 */
    enum cure_known whole_name; /* denies the other types of the name, too */
};

extern const struct cure CURES[];
extern const size_t CURES_N;

/* What was seen of a resolver. */
struct cure_evidence {
    const char *class_name; /* such as "FILTER_EMPTY" */
    const char *hints;      /* what it says of itself, any case; "" for nothing */
    enum cure_known loopback, cgnat, whole_name;
};

/* The product `id`, or NULL. */
const struct cure *cure_find(const char *id);

/* Writes the products that fit, likeliest first; returns how many (0 for a class that needs no
 * cure). The last is "other": most products are not in the table. */
size_t cure_guess(const struct cure *out[CURE_GUESS_MAX], const struct cure_evidence *seen);

/* {"product", "title", "steps": [sentences], "paste": lines or null}, with `zone` put in; a new
 * reference, NULL when out of memory. */
json_t *cure_to_json(const struct cure *c, const char *zone);

#endif
