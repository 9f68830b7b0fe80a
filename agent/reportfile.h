/* reportfile.h - what is remembered of reports across restarts: state_dir/report.json, replaced
 * atomically, written when a name or a wait changes. Blocking; one thread. */
#ifndef LANYARD_AGENT_REPORTFILE_H
#define LANYARD_AGENT_REPORTFILE_H

#include <jansson.h>

#include "agent/config.h"
#include "agent/core/reported.h"
#include "common/base/attr.h"
#include "common/base/err.h"

struct reportfile {
    unsigned attempts; /* failures in a row */
    int64_t retry_at;  /* Unix seconds: not before; 0: at once */
    struct reported reported;
};

/* Reads the file under c->state_dir; one that is missing, damaged or of another zone or service is
 * an empty one. Errors: those of statefile_load(); *out is then empty. */
NODISCARD enum err reportfile_load(struct reportfile *out, const struct config *c, const char *id,
                                   struct err_info *info);

NODISCARD enum err reportfile_save(const struct reportfile *f, const struct config *c,
                                   const char *id, struct err_info *info);

/* The tags as the service told them: a list of `address` and `name`. NULL when out of memory. */
json_t *reportfile_tags(const struct reportfile *f, const struct config *c, const char *id);

#endif
