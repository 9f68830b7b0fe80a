/* reported.h - what the service answers to a report. Everything in it comes from outside: a name
 * that is not this device's name for that very address is left out. Pure; any thread. */
#ifndef LANYARD_AGENT_CORE_REPORTED_H
#define LANYARD_AGENT_CORE_REPORTED_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/span.h"
#include "common/dns/tag.h"

#define REPORTED_TAGS_MAX 4

struct reported_tag {
    struct ip ip;              /* public */
    char label[TAG_LABEL_MAX]; /* "p<tag>-<ip>" */
};

struct reported {
    struct ip observed; /* the address that the report came from; family 0: not said */
    size_t n_tags;
    struct reported_tag tags[REPORTED_TAGS_MAX];
    int64_t next_report_s; /* 300 to 86400 */
};

/* Reads `body`, JSON, for the device `id` in `zone`. Errors: ERR_INVALID; *out is then untouched.
 */
NODISCARD enum err reported_parse(struct reported *out, struct span body, const char *id,
                                  const char *zone);

/* The same of an object; whatever is missing in it or wrong is left out. */
struct reported reported_from_json(const json_t *root, const char *id, const char *zone);

/* Whether the service saw us come from `ip`. */
bool reported_is_ours(const struct reported *r, const struct ip *ip);

/* The label of `ip`, NULL when there is none. Borrowed. */
const char *reported_label(const struct reported *r, const struct ip *ip);

#endif
