/* reportfile.h - what is remembered of reports across restarts: state_dir/report.json, replaced
 * atomically, written at a start and when a name or a wait changes. Blocking; one thread. */
#ifndef LANYARD_AGENT_REPORTFILE_H
#define LANYARD_AGENT_REPORTFILE_H

#include <stdbool.h>

#include <jansson.h>

#include "agent/config.h"
#include "agent/core/pace.h"
#include "agent/core/relaygrant.h"
#include "agent/core/reported.h"
#include "common/base/attr.h"
#include "common/base/err.h"

struct reportfile {
    unsigned attempts; /* failures in a row */
    int64_t retry_at;  /* Unix seconds: not before; 0: at once */
    /* Unix seconds: the service asked not to be told before, whatever changes; 0: it did not */
    int64_t busy_until;
    struct pace pace; /* of the starts */
    struct reported reported;
    json_t *relay;    /* as the service named it, with its ticket; NULL: none */
    int64_t relay_at; /* Unix seconds: when that was */
};

/* Reads the file under c->state_dir into *out, for reportfile_clear(); one that is missing, damaged
 * or of another zone or service is an empty one. Errors: those of statefile_load(); *out is then
 * empty. */
NODISCARD enum err reportfile_load(struct reportfile *out, const struct config *c, const char *id,
                                   struct err_info *info);

NODISCARD enum err reportfile_save(const struct reportfile *f, const struct config *c,
                                   const char *id, struct err_info *info);

/* Takes over the relay of `answer`, the service's JSON. True when the file should be written: a
 * fresh ticket alone is worth it twice a day, which is half of its life. */
bool reportfile_take_relay(struct reportfile *f, struct span answer, int64_t now_s);

/* The relay, while its ticket holds at `now_s`. Errors: ERR_NOTFOUND, ERR_INVALID; *out is then
 * untouched. */
NODISCARD enum err reportfile_relay(const struct reportfile *f, struct relaygrant *out,
                                    const char *id, const char *zone, int64_t now_s);

/* The tags as the service told them: a list of `address` and `name`. NULL when out of memory. */
json_t *reportfile_tags(const struct reportfile *f, const struct config *c, const char *id);

void reportfile_clear(struct reportfile *f);

#endif
