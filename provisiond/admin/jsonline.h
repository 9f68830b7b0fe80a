/* jsonline.h - what commands print with --json: one object a line. Text that is no UTF-8 (cut in
 * the middle of a character, or typed so) is written with ? for what cannot be. Keys whose memory
 * runs out are left out. */
#ifndef LANYARD_PROVISIOND_ADMIN_JSONLINE_H
#define LANYARD_PROVISIOND_ADMIN_JSONLINE_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

void jsonline_text(json_t *o, const char *key, const char *text);
void jsonline_int(json_t *o, const char *key, int64_t value);
void jsonline_bool(json_t *o, const char *key, bool value);

/* Unix seconds as RFC 3339; null for 0. */
void jsonline_time(json_t *o, const char *key, int64_t at_s);

/* Prints and frees it. */
void jsonline_print(json_t *o);

#endif
