/* span.h - borrowed bytes: a pointer and a length. Owns nothing. Pure; any thread. */
#ifndef LANYARD_BASE_SPAN_H
#define LANYARD_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct span {
    const uint8_t *p;
    size_t len; /* bytes */
};

/* The bytes of a NUL-terminated string, without the NUL. */
struct span span_str(const char *s);

bool span_equal(struct span a, struct span b);

/* Whether `s` equals the string `lit`, ASCII letters compared without case. */
bool span_is_nocase(struct span s, const char *lit);

/* Takes the next line off *text: without its comment, from '#' on, and without blanks at its ends.
 */
struct span span_take_line(struct span *text);

#endif
