/* body.h - the JSON body of a request, parsed strictly: one object, no member twice, valid UTF-8,
 * no NUL in a string, at most BODY_DEPTH_MAX levels. What it lets through, every strict reader
 * reads the same. Pure. */
#ifndef LANYARD_PROVISIOND_API_BODY_H
#define LANYARD_PROVISIOND_API_BODY_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/span.h"

#define BODY_DEPTH_MAX 16

/* On success *out is the caller's, who calls json_decref(). Errors: ERR_INVALID with a sentence. */
NODISCARD enum err body_parse(json_t **out, struct span body, struct err_info *info);

/* Copies the string member `key` with its NUL into `out`, which takes `cap` bytes, and says in
 * *present whether it is there (null counts as absent). Errors: ERR_INVALID with a sentence. */
NODISCARD enum err body_get(json_t *object, const char *key, char *out, size_t cap, bool *present,
                            struct err_info *info);

#endif
