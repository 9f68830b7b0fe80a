/* verdictview.h - a verdict_report for others: what the service is told, and what the owner of the
 * device is shown. Pure; any thread. */
#ifndef LANYARD_AGENT_CORE_VERDICTVIEW_H
#define LANYARD_AGENT_CORE_VERDICTVIEW_H

#include <stdbool.h>
#include <stdio.h>

#include <jansson.h>

#include "agent/core/verdict.h"
#include "common/base/siphash.h"

/* For the service: {"dns": [...], "rebinding": ...}, in which a resolver is 8 digits of a hash with
 * `key`, never its address. A new reference; NULL when out of memory. */
json_t *verdict_to_json(const struct verdict_report *r, const uint8_t key[SIPHASH_KEY_LEN]);

/* For the owner: addresses, classes, sentences and cures, as in `status --json`. `running`: a newer
 * look is under way. A new reference; NULL when out of memory. */
json_t *verdict_detail(const struct verdict_report *r, bool running);

/* Writes the object of verdict_detail() as text; with `all`, every cure that may fit instead of the
 * likeliest. */
void verdict_print(const json_t *detail, bool all, FILE *out);

#endif
